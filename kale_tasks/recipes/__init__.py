"""Recipes: which models make the captions, with which prompts and checks."""
