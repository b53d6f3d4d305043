from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ROOT

from transformer_cli.config import dump_config, flatten_config, load_config
from transformer_cli.errors import ConfigError
from transformer_cli.schema import Config


def test_dumped_config_reads_back_equal(tmp_path: Path) -> None:
    config = load_config(None, ["model.preset=base", "model.dropout=0.25", "optim.betas=[0.9, 0.95]"])
    (tmp_path / "c.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "c.yaml") == config


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda p: p.name)
def test_shipped_configs_are_valid(path: Path) -> None:
    load_config(path)


def test_preset_gives_sizes_and_keys_win() -> None:
    model = load_config(None, ["model.preset=big", "model.d_ff=2048"]).model
    assert (model.d_model, model.num_heads, model.d_ff, model.dropout) == (1024, 16, 2048, 0.3)


def test_yaml_1_2(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("optim: {lr: 1e-4}\n")
    assert load_config(tmp_path / "c.yaml").optim.lr == 1e-4
    (tmp_path / "c.yaml").write_text("optim: {lr: 1e-4, lr: 1e-3}\n")
    with pytest.raises(ConfigError, match="duplicate"):
        load_config(tmp_path / "c.yaml")
    (tmp_path / "c.yaml").write_text("tokenizer: {joint: no}\n")  # a string in YAML 1.2, not a boolean
    with pytest.raises(ConfigError, match=r"tokenizer\.joint"):
        load_config(tmp_path / "c.yaml")


def one_edit(word: str) -> list[str]:
    middle = len(word) // 2
    return [word[:middle] + word[middle + 1 :], word[:middle] + "q" + word[middle:], word + "s"]


@pytest.mark.parametrize("key", list(flatten_config(Config())))
def test_every_mistyped_key_names_the_nearest(key: str) -> None:
    section, _, leaf = key.rpartition(".")
    for typo in one_edit(leaf):
        wrong = f"{section}.{typo}"
        if wrong in flatten_config(Config()):
            continue
        with pytest.raises(ConfigError) as caught:
            load_config(None, [f"{wrong}=1"])
        assert wrong in str(caught.value) and f"did you mean '{key}'" in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("model.dropout=1.5", "model.dropout"),
        ("model.dropout=-0.1", "model.dropout"),
        ("model.num_heads=7", "num_heads"),
        ("model.norm=middle", "model.norm"),
        ("optim.lr=fast", "optim.lr"),
        ("optim.lr='1e-3'", "optim.lr"),
        ("optim.lr=.nan", "optim.lr"),
        ("training.max_steps=0", "training.max_steps"),
        ("training.max_steps=1.5", "training.max_steps"),
        ("tokenizer.joint=false", "tie_embeddings"),
        ("data.max_length=5000", "data.max_length"),
        ("data.batch_tokens=100", "batch_tokens"),
        ("optim.betas=[0.9]", "optim.betas"),
        ("model=3", "model"),
        ("[1", "--set"),
        ("model.dropout", "--set"),
    ],
)
def test_wrong_values_name_the_key(setting: str, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, [setting])
    assert named in str(caught.value)


def test_missing_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such configuration"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "b.yaml").write_text("model: [")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(tmp_path / "b.yaml")
    (tmp_path / "l.yaml").write_text("- 1\n")
    with pytest.raises(ConfigError, match="expected sections"):
        load_config(tmp_path / "l.yaml")


def test_learned_positions_bound_the_length() -> None:
    with pytest.raises(ConfigError, match="max_positions"):
        load_config(None, ["model.positions=learned", "model.max_positions=100"])


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("model.encoder_layers=40", "reach beyond any sentence"),
        ("model.kernel_size=4", "must be odd"),
        ("data.subword_sampling=0.1", "needs tokenizer.model_type unigram"),
    ],
)
def test_checks_between_keys_of_the_rivals(setting: str, words: str) -> None:
    settings = ["model.encoder=tcn", "tokenizer.model_type=char", setting]
    with pytest.raises(ConfigError, match=words):
        load_config(None, settings)


def test_an_error_shows_no_more_of_a_value_than_a_line(tmp_path: Path) -> None:
    """References to references to a list are short to write and endless to print."""
    lists = ["a: &a [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]"]
    lists += [
        f"{after}: &{after} [{', '.join([f'*{before}'] * 10)}]" for before, after in ("ab", "bc", "cd", "de")
    ]
    file = tmp_path / "c.yaml"
    file.write_text("\n".join([*lists, "model:", "  dropout: *e"]))
    with pytest.raises(ConfigError) as refused:
        load_config(file)
    assert len(str(refused.value)) < 2000
