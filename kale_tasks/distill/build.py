"""A new student: a vision tower and a language model as they are, and a connector that knows nothing yet."""

from pathlib import Path
from typing import Any

IMAGE = "<image>"
_OWN_FILES_ONLY = {"trust_remote_code": False, "use_safetensors": True}


def build(vision: Path, llm: Path) -> tuple[Any, Any]:
    """Model and processor of a new student."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlavaForConditionalGeneration, SiglipVisionModel

    seen = _vision_config(vision)
    tower = SiglipVisionModel.from_pretrained(vision, config=seen, dtype=torch.float32, use_safetensors=True)
    text = AutoModelForCausalLM.from_pretrained(llm, dtype=torch.float32, **_OWN_FILES_ONLY)
    tokenizer = AutoTokenizer.from_pretrained(llm, trust_remote_code=False)
    if IMAGE not in tokenizer.get_vocab():
        tokenizer.add_tokens([IMAGE], special_tokens=True)
    text.resize_token_embeddings(max(len(tokenizer), text.config.vocab_size), mean_resizing=False)
    model = LlavaForConditionalGeneration(_config(seen, text.config, tokenizer))
    model.model.vision_tower.load_state_dict(tower.state_dict())
    model.model.language_model.load_state_dict(text.model.state_dict())
    model.lm_head.load_state_dict(text.lm_head.state_dict())
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model, _processor(seen, tokenizer)


def _vision_config(vision: Path) -> Any:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(vision, trust_remote_code=False)
    config = getattr(config, "vision_config", config)
    config.vision_use_head = False  # the connector reads patches, never the pooled picture
    return config


def _config(seen: Any, text: Any, tokenizer: Any) -> Any:
    from transformers import LlavaConfig

    return LlavaConfig(
        vision_config=seen,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=(seen.image_size // seen.patch_size) ** 2,
        vision_feature_layer=-2,
        vision_feature_select_strategy="full",
        tie_word_embeddings=text.tie_word_embeddings,
    )


def _processor(seen: Any, tokenizer: Any) -> Any:
    from transformers import LlavaProcessor, SiglipImageProcessor

    make: Any = LlavaProcessor
    flatten = Path(__file__).with_name("image_parts.jinja").read_text(encoding="utf-8")
    tokenizer.chat_template = flatten + tokenizer.chat_template
    return make(
        image_processor=SiglipImageProcessor(size={"height": seen.image_size, "width": seen.image_size}),
        tokenizer=tokenizer,
        patch_size=seen.patch_size,
        vision_feature_select_strategy="full",
        chat_template=tokenizer.chat_template,
    )
