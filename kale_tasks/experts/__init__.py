"""Experts, which find values in rows, and scorers, which rate a text: the models and tables that recipes consult."""
