"""Analysis of alt-texts and captions: sentences, language, facts, noise, invented facts."""
