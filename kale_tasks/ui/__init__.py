"""The pages of KALE in Airflow."""
