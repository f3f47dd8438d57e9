"""Problem files: each round-trips, and each mistake in one gets one sentence on what to do."""

import copy
import tomllib
import zlib
from functools import cache

import pytest
import tomli_w

from evosearch import cli
from evosearch.config import REQUIRED_SPLITS, build_config, read_toml
from evosearch.errors import InputError
from evosearch.problem import list_problems, load_problem

FILES = {info.name: info.path for info in list_problems()}
FREE_NAMES = {"known", "presets"}  # tables whose keys are names of the author's own


@cache
def values_of(name):
    return tomllib.loads(FILES[name].read_text(encoding="utf-8"))


def fresh(name):
    return copy.deepcopy(values_of(name))


def walk(values, path=()):
    """Yield the path of every key, tables included."""
    for key, value in values.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from walk(value, (*path, key))


def at(values, path):
    for part in path:
        values = values[part]
    return values


def is_name_of_choice(path):
    """Whether the key itself is a name that the author is free to choose."""
    is_further_split = path[0] == "splits" and path[-1] not in REQUIRED_SPLITS
    return len(path) == 2 and (path[0] in FREE_NAMES or is_further_split)


def keys_to_misspell():
    for name in FILES:
        for path in walk(values_of(name)):
            if not is_name_of_choice(path):
                yield pytest.param(name, path, id=f"{name}:{'/'.join(path)}")


def numbers_to_break():
    for name in FILES:
        for path in walk(values_of(name)):
            value = at(values_of(name), path)
            first = value
            while isinstance(first, list) and first:
                first = first[0]
            if isinstance(first, int | float) and not isinstance(first, bool):
                yield pytest.param(name, path, id=f"{name}:{'/'.join(path)}")


@pytest.fixture(scope="module")
def tmp_path(tmp_path_factory):
    """One folder for all these tests: there are hundreds."""
    return tmp_path_factory.mktemp("problems")


def write(folder, values):
    path = folder / "broken.toml"
    path.write_text(tomli_w.dumps(values), encoding="utf-8")
    return path


def message_of(path, **options):
    """Load a problem that is wrong; return the sentence about it."""
    with pytest.raises(InputError) as caught:
        load_problem(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    assert len(message) < 2000
    return message


def shorter(key):
    """Drop a letter from the middle of the last part of a key."""
    head, dot, last = key.rpartition(".")
    middle = len(last) // 2
    return head + dot + last[:middle] + last[middle + 1 :]


def misspell_in(values, path, wrong):
    table = at(values, path[:-1])
    moved = {(wrong if key == path[-1] else key): value for key, value in table.items()}
    table.clear()
    table.update(moved)


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_problem_and_preset_loads_and_reads_back_from_what_it_writes(name):
    for preset in (None, "default", *values_of(name).get("presets", {})):
        problem = load_problem(name, preset=preset)
        text = problem.config.to_toml()
        again = build_config(tomllib.loads(text), source="again")
        assert again == problem.config
        assert again.to_toml() == text


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_problem_has_a_quick_preset_that_is_less_work(name):
    slow, quick = load_problem(name).config, load_problem(name, preset="quick").config
    assert quick.splits["search"].draws <= slow.splits["search"].draws
    for search, config in quick.searches.items():
        assert config.budget <= slow.searches[search].budget
        # A vector may cost a millionth of what a rule's lifetimes do.
        assert config.budget <= 2000 or slow.rule is None


@pytest.mark.parametrize(("name", "path"), list(keys_to_misspell()))
def test_a_misspelt_key_is_named_with_the_right_one(name, path, tmp_path):
    values = fresh(name)
    wrong = shorter(path[-1])
    if not wrong or wrong in at(values, path[:-1]):
        pytest.skip("one letter less is another name")
    misspell_in(values, path, wrong)
    file = write(tmp_path, values)
    preset = path[1] if path[0] == "presets" and len(path) > 2 else None
    message = message_of(file, preset=preset)
    assert str(file) in message
    assert wrong.split(".")[-1] in message, message
    assert path[-1].split(".")[-1] in message, message


WRONG = ("many", "5", {}, float("nan"), float("inf"), [[]], True)
OUT_OF_RANGE = {"tiny": -(10**15), "huge": 10**15}


@pytest.mark.parametrize(("name", "path"), list(numbers_to_break()))
def test_a_number_of_the_wrong_type_is_refused(name, path, tmp_path, session_seed, is_full):
    start = session_seed + zlib.crc32(repr(path).encode())
    for wrong in WRONG if is_full else (WRONG[start % len(WRONG)], WRONG[(start + 1) % len(WRONG)]):
        values = fresh(name)
        at(values, path[:-1])[path[-1]] = wrong
        preset = path[1] if path[0] == "presets" else None
        file = write(tmp_path, values)
        message = message_of(file, preset=preset)
        assert str(file) in message
        assert path[-1].split(".")[-1] in message, message


# Any finite number is a right one here.
FREE_NUMBERS = {"ephemeral", "clip", "threshold", "margin", "constants", "value"}


# Tasks that do not look at the numbers in these lists yet.
@pytest.mark.parametrize(("name", "path"), list(numbers_to_break()))
def test_a_number_out_of_range_is_refused_with_what_is_allowed(name, path, tmp_path):
    key = path[-1].split(".")[-1]
    value = at(values_of(name), path)
    if key in FREE_NUMBERS:
        pytest.skip("any finite number is allowed")
    refused = []
    for wrong in OUT_OF_RANGE.values():
        values = fresh(name)
        new = [wrong] * len(value) if isinstance(value, list) else wrong
        if isinstance(value, list) and isinstance(value[0], list):
            new = [[wrong] * len(value[0])]
        at(values, path[:-1])[path[-1]] = new
        preset = path[1] if path[0] == "presets" else None
        try:
            load_problem(write(tmp_path, values), preset=preset)
        except InputError as error:
            refused.append(str(error))
    assert refused, "no number is out of range"
    for message in refused:
        assert "\n" not in message
        assert key in message, message


@pytest.mark.parametrize(
    "key", ["splits.serch.draws", "rule.etta", "searches.gpp.budget", "tsk.kind"]
)
def test_a_misspelt_override_is_refused_with_the_nearest_name(key):
    message = message_of("oja_pc1", overrides={key: "5"})
    right = {"splits": "search", "rule": "eta", "searches": "gp", "tsk": "task"}[key.split(".")[0]]
    assert f"'{right}'" in message or f".{right}'" in message, message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rule.eta", "0"),
        ("rule.eta", "-1"),
        ("rule.eta", "nan"),
        ("rule.eta", "inf"),
        ("rule.eta", "x"),
        ("rule.eta", ""),
        ("rule.eta.deep", "1"),
        ("rule..eta", "1"),
        (".", "1"),
        ("", "1"),
        ("rule.form", "both"),
        ("rule.dtype", "float16"),
        ("rule.terminals", "[]"),
        ("rule.terminals", '["w", "prre"]'),
        ("rule.functions", '["ad"]'),
        ("rule.clip", "[1, -1]"),
        ("rule.clip", "[1]"),
        ("rule.ephemeral", "[2, 2]"),
        ("rule.eta_factors", "[]"),
        ("rule", "5"),
        ("splits.search.draws", "0"),
        ("splits.search.draws", "1.5"),
        ("splits.search.draws", "10000000"),
        ("splits.search.eta", "-1"),
        ("splits.validation.is_fresh", "true"),
        ("task.kind", "oja_pc"),
        ("task.kind", "5"),
        ("task.inputs", "4"),
        ("name", '"a b/../c"'),
        ("seed", "-1"),
        ("aggregate", "sum"),
        ("floor", "zeroo"),
        ("success.reference", "ojja"),
        ("success.threshold", "1"),
        ("known.mine.text", "w +"),
        ("known.mine.text", "w + prre"),
        ("known.mine.library", "ojja"),
        ("default_search", "gpp"),
        ("searches.gp.population", "0"),
        ("searches.gp.population", '"many"'),
        ("searches.gp.budget", "0"),
        ("searches.gp.representation", "coefficients"),
        ("searches.gp.representation", "table"),
        ("representations.coefficients.basis", "[]"),
        ("representations.coefficients.basis", '["w", "prre"]'),
        ("representations.coefficients.sigma0", "-1"),
        ("schema", "2"),
        ("schema", '"1"'),
        ("schema", "true"),
    ],
)
def test_a_bad_override_is_one_sentence_on_stderr_and_writes_nothing(
    key, value, tmp_path_factory, monkeypatch, capfd
):
    tmp_path = tmp_path_factory.mktemp("empty")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", "oja_pc1", "--preset", "quick", "--set", f"{key}={value}"]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("evosearch: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_overrides_are_read_as_toml_where_they_are_toml():
    changes = {
        "rule.eta": "0.01",
        "task.steps": "7",
        "rule.constants": "[1, 2]",
        "title": "a title",
        "splits.search.is_fresh": "true",
        "known.mine.text": "w - pre",
    }
    config = load_problem("oja_pc1", overrides=changes).config
    assert config.rule.eta == 0.01
    assert config.task["steps"] == 7
    assert config.rule.constants == (1.0, 2.0)
    assert config.title == "a title"
    assert config.splits["search"].is_fresh is True
    assert config.known["mine"].text == "w - pre"


def test_overrides_win_over_presets_and_presets_over_the_file():
    slow, quick = (load_problem("oja_pc1", preset=name).config for name in (None, "quick"))
    assert slow.task["steps"] == values_of("oja_pc1")["task"]["steps"]
    assert quick.task["steps"] == values_of("oja_pc1")["presets"]["quick"]["task.steps"]
    both = load_problem("oja_pc1", preset="quick", overrides={"task.steps": "3"})
    assert both.config.task["steps"] == 3


def test_an_unknown_preset_is_answered_with_the_nearest():
    message = message_of("oja_pc1", preset="quik")
    assert "'quick'" in message
    assert "default" in message


BAD_FILES = {
    "no TOML": b"schema = = 1",
    "cut short": b'schema = 1\nname = "x',
    "a key twice": b"schema = 1\nschema = 1",
    "binary": bytes(range(256)) * 4,
    "UTF-16": "schema = 1".encode("utf-16"),
    "empty": b"",
    "newer schema": b"schema = 2",
    "schema as text": b'schema = "1"',
    "schema alone": b"schema = 1",
    "deep": b"a = " + b"[" * 20_000 + b"]" * 20_000,
    "deep tables": b"a = " + b"{a=" * 3_000 + b"1" + b"}" * 3_000,
    "huge": b"# filler\n" * 700_000,
    "tables as numbers": b"schema = 1\nrule = 5\nsplits = 3\n",
    "date": b"schema = 1979-05-27",
}


@pytest.mark.parametrize("content", list(BAD_FILES.values()), ids=list(BAD_FILES))
def test_a_file_that_is_no_problem_is_named_with_the_reason(content, tmp_path, capfd):
    file = tmp_path / "broken.toml"
    file.write_bytes(content)
    message = message_of(file)
    assert str(file) in message
    before = sorted(tmp_path.iterdir())
    assert cli.main(["run", str(file)]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "name", ["missing.toml", "folder.toml", "no/such/thing.toml", "a\0b", "x" * 5000, ""]
)
def test_a_path_without_a_file_is_refused(name, tmp_path, monkeypatch):
    (tmp_path / "folder.toml").mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path)
    message_of(name)


def test_a_misspelt_problem_is_answered_with_the_nearest():
    assert "'oja_pc1'" in message_of("oja_pc")


def test_only_toml_of_a_mapping_is_read(tmp_path):
    file = tmp_path / "x.toml"
    file.write_text("a = 1\n[b]\nc = 2\n")
    assert read_toml(file) == {"a": 1, "b": {"c": 2}}
