"""Settings of the captioning steps."""

from typing import Any

from pydantic import Field, SecretStr, field_validator

from kale_tasks.settings.section import Section, runtime

_ANSWERS = {
    "dtype", "enable_lora", "generation_config", "hf_overrides", "kv_cache_dtype", "lora_modules", "max_model_len",
    "mm_processor_kwargs", "model", "override_generation_config", "quantization", "revision", "seed", "tokenizer",
}  # fmt: skip


class Endpoints(Section):
    """Base URLs of OpenAI-compatible servers, such as http://host:8000/v1; several servers share the load."""

    models: dict[str, list[str]] = runtime("Servers of models, by the name that recipes give the model.")
    student: list[str] = runtime("Servers of the student.")
    api_key: SecretStr | None = runtime("Bearer token for all servers, if they require one.")


class Spending(Section):
    """Upper limits of what an engine may spend; null: no limit."""

    dollars: float | None = runtime("Cost, by the prices of devices and tokens.", ge=0)
    tokens: int | None = runtime("Tokens of prompts and answers.", ge=0)
    device_hours: float | None = runtime("Hours of devices in use.", ge=0)
    requests: int | None = runtime("Requests answered.", ge=0)


class Budget(Section):
    """Limits that all tasks of an engine share. When one is reached, work stops and can be continued."""

    run: Spending
    day: Spending  # in UTC


class Caption(Section):
    """How captions are made. Models and prompts are part of the recipe."""

    recipe: str = Field(description="Name of a recipe in config/recipes, or the path of a YAML file.")
    engine: str = Field(description="What runs the models: transformers, vllm, openai, or an engine of a plug-in.")
    device: str = runtime("Device of the transformers engine: auto, cpu, cuda, cuda:1, mps.")
    devices: str = runtime(
        "Devices of the vllm engine: all, or some, as in 0,1,2,3 (GPUs) or cpu:0-3,cpu:4-7 (cores). Each group of as "
        "many as one engine needs runs an engine of its own."
    )
    batch: int = runtime("Maximum sequences of the transformers engine; halved when its memory runs out.", ge=1)
    in_flight: int = runtime("Maximum requests in an engine: in each group of devices, and in all servers.", ge=1)
    timeout_s: float = runtime("Seconds after which a request is abandoned.", gt=0)
    tries: int = runtime("How often a request is sent when a server fails or is busy.", ge=1)
    recycle: int = runtime("Requests after which the engine is restarted to free memory; 0: never.", ge=0)
    vllm_python: str | None = runtime("Python interpreter that has vLLM installed; empty: the current one.")
    vllm: dict[str, Any] = runtime(
        "Arguments of vLLM that change no answer, such as tensor_parallel_size or gpu_memory_utilization; what is not "
        "given is vLLM's own default. Arguments that change answers belong to the model in the recipe."
    )
    preparers: int = runtime("Threads that decode images for vLLM.", ge=1)
    endpoints: Endpoints
    batch_file_mb: int = runtime("Maximum size of a file of the batch engine; providers allow 100 to 200.", ge=1)
    batch_wait_s: float = runtime("Seconds to wait for a batch before the task pauses.", ge=0)
    batch_poll_s: float = runtime("Seconds between two looks at a batch while the task is paused.", gt=0)
    device_hour_price: float = runtime("Dollars for an hour of one device, for the cost in the ledger.", ge=0)
    token_price_in: float = runtime("Dollars for a million tokens of prompts, as a provider charges them.", ge=0)
    token_price_out: float = runtime("Dollars for a million tokens of answers.", ge=0)
    budget: Budget

    @field_validator("devices", mode="before")
    @classmethod
    def _one_device(cls, given: Any) -> Any:
        return str(given) if isinstance(given, int) else given  # YAML takes a single one for a number

    @field_validator("vllm")
    @classmethod
    def _changes_no_answer(cls, given: dict[str, Any]) -> dict[str, Any]:
        if wrong := sorted(_ANSWERS & given.keys()):
            raise ValueError(f"{', '.join(wrong)} changes answers: set it as models.NAME.vllm in the recipe")
        return given
