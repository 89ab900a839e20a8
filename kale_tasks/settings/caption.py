"""Settings of the captioning steps."""

from pydantic import Field, SecretStr

from kale_tasks.settings.section import Section, runtime


class Endpoints(Section):
    """Base URLs of OpenAI-compatible servers, such as http://host:8000/v1; several servers share the load."""

    dense: list[str] = runtime("Servers of the dense captioner.")
    fuse: list[str] = runtime("Servers of the language model that fuses.")
    student: list[str] = runtime("Servers of the student.")
    models: dict[str, list[str]] = runtime("Servers of other models, by the name that a recipe gives the model.")
    api_key: SecretStr | None = runtime("Bearer token for all servers, if they require one.")


class Caption(Section):
    """How captions are made. Models and prompts are part of the recipe."""

    recipe: str = Field(description="Name of a recipe in config/recipes, or the path of a YAML file.")
    engine: str = Field(description="What runs the models: transformers, vllm, openai, or an engine of a plug-in.")
    device: str = runtime("Device of the transformers engine: auto, cpu, cuda, cuda:1, mps.")
    batch: int = runtime("Maximum sequences that a device generates at once; halved when its memory runs out.", ge=1)
    in_flight: int = runtime("Maximum requests in the engine; two to four batches keep it busy.", ge=1)
    timeout_s: float = runtime("Seconds after which a request is abandoned.", gt=0)
    tries: int = runtime("How often a request is sent when a server fails or is busy.", ge=1)
    recycle: int = runtime("Requests after which the engine is restarted to free memory; 0: never.", ge=0)
    vllm_python: str = runtime("Python interpreter that has vLLM installed; empty: the current one.")
    vllm_memory: float = runtime("Fraction of the device's memory that vLLM may use.", gt=0, le=1)
    preparers: int = runtime("Threads that decode and preprocess images for vLLM.", ge=1)
    endpoints: Endpoints
    device_hour_price: float = runtime("Price of one device for an hour, for the cost in the ledger.", ge=0)
