"""The pages inside Airflow: keys, releases and their reports, behind Airflow's login."""
