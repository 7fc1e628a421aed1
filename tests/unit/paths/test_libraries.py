"""What is known of libraries around torch: models of the hub, engines."""

from pathlib import Path

import pytest

from tcstatic.program.paths import Happening, Root, happenings
from tests.unit.paths.exploring import events, explored

TWO = """
import torch
import transformers, timm
from diffusers import UNet2DModel
from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForLanguageModeling
first, second = {first}, {second}
of_first = torch.optim.AdamW(first.parameters())
of_second = torch.optim.AdamW(second.parameters())
for batch in batches:
    first(**batch).loss.backward()
    of_first.step()
    second(**batch).loss.backward()
    of_second.step()
"""
MODELS = [
    "AutoModelForCausalLM.from_pretrained(name)",
    "AutoModelForCausalLM.from_config(config)",
    "transformers.BertForTokenClassification(config)",
    "transformers.AutoModel.from_pretrained(name)",
    "UNet2DModel(sample_size=8)",
    "timm.create_model('resnet18', pretrained=True)",
]


@pytest.mark.parametrize("made", MODELS)
def test_a_model_of_the_hub_is_a_model(tmp_path: Path, made: str) -> None:
    text = TWO.format(first=made, second=made)
    found = events(tmp_path, text, "loss.backward", "optimizer.step")

    assert [one.subjects for one in found[:2]] == [found[1].subjects] * 2
    assert [one.subjects for one in found[2:]] == [found[3].subjects] * 2
    assert found[1].subjects != found[3].subjects


def test_what_is_loaded_from_the_hub_is_in_a_mode_that_the_source_does_not_tell(
    tmp_path: Path,
) -> None:
    text = """
import timm
from transformers import AutoModel
for model in (AutoModel.from_pretrained("a"), timm.create_model("b")):
    model(x).mean().backward()
"""
    loaded, made = events(tmp_path, text, "model.forward")

    assert loaded.values["training"] is None
    assert made.values["training"] is True


@pytest.mark.parametrize(
    "other",
    [
        "AutoTokenizer.from_pretrained(name)",
        "DataCollatorForLanguageModeling(tokenizer)",
        "transformers.AutoConfig.from_pretrained(name)",
        "transformers.TFBertModel.from_pretrained(name)",
    ],
)
def test_what_else_the_hub_holds_is_no_model(tmp_path: Path, other: str) -> None:
    text = TWO.format(first=other, second=other)
    first, *_ = events(tmp_path, text, "loss.backward")
    assert not first.subjects["optimizer"]


def test_an_engine_is_known_also_where_its_own_source_is_at_hand(tmp_path: Path) -> None:
    main = """
import torch
from accelerate import Accelerator
accelerator = Accelerator()
model = torch.nn.Linear(2, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
model, optimizer = accelerator.prepare(model, optimizer)
for x in batches:
    accelerator.backward(model(x).mean())
    optimizer.step()
"""
    files = {
        "main.py": main,
        "accelerate/__init__.py": "from .accelerator import Accelerator",
        "accelerate/accelerator.py": """
class Accelerator:
    def prepare(self, *everything):
        return tuple(self.wrappers[type(one)](one) for one in everything)
    def backward(self, loss):
        self.engines[loss](loss)
""",
    }
    found: list[Happening] = []

    def visit(root: Root) -> None:
        if not root.name:
            found.extend(one for one in happenings(root.block) if one.kind != "call" or one.wild)

    explored(tmp_path, files, visit)
    kinds = ["optimizer.new", "model.forward", "loss.backward", "optimizer.step"]
    assert [one.kind for one in found] == kinds
    assert found[2].subjects == found[3].subjects


SPLIT = """
import torch
from datasets import load_dataset
from torch.utils.data import DataLoader
from transformers import AutoModelForSequenceClassification

model = AutoModelForSequenceClassification.from_pretrained("small")
optimizer = torch.optim.AdamW(model.parameters())
data = {load}
data = data.map(tokenize, batched=True).rename_column("label", "labels")
batches = DataLoader({split}, {told}collate_fn=pad, batch_size=8)
for epoch in range(3):
    for batch in batches:
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
"""
NEWS = 'load_dataset("ag_news")'


@pytest.mark.parametrize(
    ("load", "split", "told", "stored"),
    [
        (NEWS, 'data["train"]', "shuffle=False, ", True),
        (NEWS, 'data["train"]', "shuffle=True, ", False),
        # nothing is said of the order: it may be seen to elsewhere
        (NEWS, 'data["train"]', "", False),
        (NEWS, 'data["train"].shuffle(seed=1)', "shuffle=False, ", False),
        (NEWS, 'data["train"].select(order)', "shuffle=False, ", False),
        (NEWS, 'data["test"]', "shuffle=False, ", False),
        (NEWS, 'data["train"]', "shuffle=False, sampler=sampler, ", False),
        ('load_dataset("ag_news", streaming=True)', 'data["train"]', "shuffle=False, ", False),
        ('load_dataset("wikitext", "103")', 'data["train"]', "shuffle=False, ", False),
        ("load_own()", 'data["train"]', "shuffle=False, ", False),
    ],
)
def test_a_split_for_training_in_its_stored_order(
    tmp_path: Path, load: str, split: str, told: str, stored: bool
) -> None:
    text = SPLIT.format(load=load, split=split, told=told)
    found = events(tmp_path, text, "call")
    assert [one.place.node.lineno for one in found if one.values.get("stored_order")] == (
        [11] if stored else []
    )
