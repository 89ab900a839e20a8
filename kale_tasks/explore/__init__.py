"""The first hour: own pictures to captions without Airflow, one picture at a time, and looks at what a lake has."""
