"""A whole Airflow on this machine: for the demonstration, for `kale up`, and for the end-to-end tests."""
