"""The release: its files, its card, the places it goes to, and taking rows back."""
