"""The words of the command line, by theme; each is a few lines over the functions below it."""
