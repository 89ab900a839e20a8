"""Engines run the models: transformers in this process, vLLM in a child process, or any OpenAI-compatible server."""
