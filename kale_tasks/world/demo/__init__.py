"""`kale demo`: the whole chain on a small sample world in a real Airflow."""
