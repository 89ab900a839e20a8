"""The Airflow side: operators, assets and the connection; it reaches the steps only through the command line."""
