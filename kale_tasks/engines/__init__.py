"""The engines: transformers in this process, vLLM in a process of its own, any OpenAI-compatible server."""
