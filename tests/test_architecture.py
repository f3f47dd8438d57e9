"""What the sources may look like: who imports whom, what is never called, how long things get."""

import ast
import graphlib
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "evosearch"

MAX_FUNCTION_LINES = 60
MAX_MODULE_LINES = 600

# Longer than the limit, each for a reason that is stated here.
LONG_FUNCTIONS = {
    "evosearch.engine.interpreter.run_group": "one compiled loop over a life's phases",
}
LONG_MODULES = {}

# What stands above a run, and what makes one.
FRONT = ("evosearch.report", "evosearch.api", "evosearch.cli")
RUNNING = (
    "evosearch.evaluation",
    "evosearch.store",
    "evosearch.run",
    "evosearch.execution",
    *FRONT,
)

# A part, and the parts it never imports, at module level or inside functions.
NEVER_IMPORTS = {
    "evosearch.engine.program": ("evosearch",),
    "evosearch.errors": ("evosearch",),
    "evosearch.engine": (
        "evosearch.tasks",
        "evosearch.search",
        "evosearch.spaces",
        "evosearch.problem",
        *RUNNING,
    ),
    "evosearch.rules": (
        "evosearch.tasks",
        "evosearch.search",
        "evosearch.spaces",
        "evosearch.problem",
        *RUNNING,
    ),
    "evosearch.circuits": ("evosearch.search", "evosearch.spaces", "evosearch.problem", *RUNNING),
    "evosearch.graphs": (
        "evosearch.engine",
        "evosearch.tasks",
        "evosearch.search",
        "evosearch.spaces",
        "evosearch.problem",
        *RUNNING,
    ),
    "evosearch.learners": ("evosearch.search", "evosearch.spaces", "evosearch.problem", *RUNNING),
    "evosearch.control": (
        "evosearch.tasks",
        "evosearch.search",
        "evosearch.spaces",
        "evosearch.problem",
        *RUNNING,
    ),
    "evosearch.networks": (
        "evosearch.tasks",
        "evosearch.search",
        "evosearch.spaces",
        "evosearch.problem",
        *RUNNING,
    ),
    "evosearch.modules": ("evosearch.search", "evosearch.tasks", "evosearch.problem", *RUNNING),
    "evosearch.data": (
        "evosearch.engine",
        "evosearch.tasks",
        "evosearch.search",
        "evosearch.spaces",
        "evosearch.problem",
        *RUNNING,
    ),
    "evosearch.functions": (
        "evosearch.engine",
        "evosearch.tasks",
        "evosearch.search",
        "evosearch.spaces",
        "evosearch.problem",
        *RUNNING,
    ),
    "evosearch.spaces": ("evosearch.search", "evosearch.tasks", "evosearch.problem", *RUNNING),
    "evosearch.search": ("evosearch.tasks", "evosearch.problem", "evosearch.scoring", *RUNNING),
    "evosearch.tasks": ("evosearch.search", "evosearch.spaces", *RUNNING),
    "evosearch.evaluation": (
        "evosearch.search",
        "evosearch.run",
        "evosearch.execution",
        *FRONT,
    ),
    "evosearch.store": ("evosearch.search", "evosearch.tasks", "evosearch.evaluation", *FRONT),
    "evosearch.run": ("evosearch.execution",),
}

# Whatever runs text or bytes as code. A call is written as in the source: a name, or the last
# two names of a dotted one; a name that starts with a dot stands for a method of anything.
FORBIDDEN_CALLS = {
    "eval",
    "exec",
    "compile",
    "builtins.eval",
    "builtins.exec",
    "builtins.compile",
    "__import__",
    "execfile",
    "sympify",
    "parse_expr",
    ".sympify",
    ".parse_expr",
    "gp.compile",
    "gp.compileADF",
    ".from_string",
    "joblib.load",
    "torch.load",
    "yaml.load",
    "yaml.unsafe_load",
    "os.system",
    "os.popen",
    "runpy.run_path",
    "runpy.run_module",
}
FORBIDDEN_IMPORTS = {"pickle", "cPickle", "cloudpickle", "dill", "marshal", "shelve", "code"}

# (module, call): each with its reason.
ALLOWED_CALLS = {
    # the baseline of the speed table is DEAP's compiler, on trees that this module builds itself
    ("evosearch.bench.baseline", "gp.compile"),
}

# What may lie in the root of the repository, besides files that start with a dot.
TOP_LEVEL = {
    "evosearch",
    "problems",
    "runs",
    "tests",
    "docs",
    "benchmarks",
    "pyproject.toml",
    "constraints.txt",
    "Makefile",
    "README.md",
    "LICENSE",
    "CITATION.cff",
    "CHANGELOG.md",
    "SECURITY.md",
}


@cache
def sources():
    """Return {module name: path} of the package."""
    return {_module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def _module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree(module):
    return ast.parse(sources()[module].read_text(encoding="utf-8"))


def is_type_checking(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(module, *, in_functions):
    """Return the names that a module imports, as modules of ours where they are."""
    found = set()
    pending = list(tree(module).body)
    while pending:
        node = pending.pop()
        if is_type_checking(node):
            pending += node.orelse
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            home = absolute_home(module, node)
            names = {f"{home}.{alias.name}" for alias in node.names}
            found.update(name if name in sources() else home for name in names)
        elif in_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            pending += ast.iter_child_nodes(node)
    return found - {module}


def absolute_home(module, node):
    """Return the module that ``from … import`` names, with leading dots resolved."""
    if not node.level:
        return node.module
    package = module if sources()[module].name == "__init__.py" else module.rpartition(".")[0]
    parts = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*parts, *([node.module] if node.module else [])])


def is_within(name, part):
    return name == part or name.startswith(part + ".")


def test_modules_import_one_another_without_a_cycle():
    graph = {
        module: {name for name in imports(module, in_functions=False) if name in sources()}
        for module in sources()
    }
    try:
        tuple(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        pytest.fail("import cycle: " + " -> ".join(reversed(error.args[1])))


@pytest.mark.parametrize("part", NEVER_IMPORTS)
def test_part_imports_only_from_below(part):
    wrong = [
        f"{module} imports {name}"
        for module in sources()
        if is_within(module, part)
        for name in sorted(imports(module, in_functions=True))
        for never in NEVER_IMPORTS[part]
        if is_within(name, never)
    ]
    assert not wrong


def called_name(node):
    """Return the last one or two names of what is called, such as ``gp.compile``."""
    if isinstance(node.func, ast.Name):
        return node.func.id
    if isinstance(node.func, ast.Attribute):
        owner = node.func.value
        last = getattr(owner, "attr", getattr(owner, "id", ""))
        return f"{last}.{node.func.attr}"
    return ""


def is_forbidden(node):
    name = called_name(node)
    if name in FORBIDDEN_CALLS or "." + name.rpartition(".")[2] in FORBIDDEN_CALLS:
        return True
    return any(
        keyword.arg in ("allow_pickle", "shell")
        and not (isinstance(keyword.value, ast.Constant) and not keyword.value.value)
        for keyword in node.keywords
    )


def forbidden_calls(module):
    return [
        (called_name(node), node.lineno)
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Call) and is_forbidden(node)
    ]


def test_nothing_turns_text_or_bytes_into_code():
    calls = [
        f"{sources()[module].relative_to(ROOT)}:{line} calls {name}"
        for module in sources()
        for name, line in forbidden_calls(module)
        if (module, name) not in ALLOWED_CALLS
    ]
    loads = [
        f"{module} imports {name}"
        for module in sources()
        for name in sorted(imports(module, in_functions=True))
        if name.partition(".")[0] in FORBIDDEN_IMPORTS
    ]
    assert not calls + loads


@pytest.mark.parametrize(
    ("source", "is_caught"),
    [
        ("eval(text)", True),
        ("builtins.eval(text)", True),
        ("network.eval()", False),
        ("sympy.sympify(text)", True),
        ("gp.PrimitiveTree.from_string(text, pset)", True),
        ("deap.gp.compile(tree, pset)", True),
        ("np.load(path, allow_pickle=True)", True),
        ("np.load(path, allow_pickle=is_trusted)", True),
        ("np.load(path, allow_pickle=False)", False),
        ("subprocess.run(text, shell=True)", True),
        ("re.compile(text)", False),
        ("torch.load(path)", True),
        ("safetensors.torch.load(data)", True),
        ("safetensors.numpy.load(data)", False),
    ],
)
def test_forbidden_calls_are_told_from_harmless_ones(source, is_caught):
    call = ast.parse(source, mode="eval").body
    assert is_forbidden(call) == is_caught


def test_every_exception_is_still_needed():
    used = {(module, name) for module in sources() for name, _ in forbidden_calls(module)}
    assert used >= ALLOWED_CALLS


@pytest.mark.parametrize("module", sources())
def test_module_says_what_it_is_for(module):
    assert ast.get_docstring(tree(module))


def functions(module):
    """Yield (qualified name, number of lines without the docstring) of each function."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node) is not None:
                lines -= node.body[0].end_lineno - node.body[0].lineno + 1
            yield f"{module}.{node.name}", lines


def test_functions_fit_on_a_screen():
    long = {
        name: lines
        for module in sources()
        for name, lines in functions(module)
        if lines > MAX_FUNCTION_LINES
    }
    assert {name: lines for name, lines in long.items() if name not in LONG_FUNCTIONS} == {}
    assert set(LONG_FUNCTIONS) <= set(long), "an exception is no longer needed"


def test_modules_are_of_one_subject():
    long = {}
    for module, path in sources().items():
        lines = path.read_text(encoding="utf-8").count("\n")
        if lines > MAX_MODULE_LINES:
            long[module] = lines
    assert {name: lines for name, lines in long.items() if name not in LONG_MODULES} == {}
    assert set(LONG_MODULES) <= set(long), "an exception is no longer needed"


def tracked_files():
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = [git, "-c", f"safe.directory={ROOT}", "ls-files", "-z"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.split("\0") if name]


def test_only_known_things_lie_at_the_top():
    tops = {name.partition("/")[0] for name in tracked_files()}
    assert {name for name in tops if not name.startswith(".")} <= TOP_LEVEL


def test_problems_hold_problem_files_alone():
    names = [name for name in tracked_files() if name.startswith("problems/")]
    assert names
    assert all(re.fullmatch(r"problems/\w+\.toml", name) for name in names)


@pytest.fixture
def without_torch(tmp_path):
    """Return a function that runs the command where torch cannot be imported.

    It fails as well when the import is only tried.
    """
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "torch.py").write_text(
        "from pathlib import Path\n"
        "Path(__file__).with_name('tried').touch()\n"
        "raise ImportError('torch is blocked by this test')\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(blocked), str(ROOT)])}

    def run(*args):
        command = [sys.executable, "-m", "evosearch", *args]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert not (blocked / "tried").exists()
        return done.stdout

    return run


def test_problems_are_listed_without_torch(without_torch):
    assert "oja_pc1" in without_torch("list", "problems")


def test_rule_problem_runs_without_torch(without_torch, tmp_path):
    options = ("--preset", "quick", "--search", "random", "--budget", "40")
    without_torch("run", "oja_pc1", *options, "--out", str(tmp_path / "runs"))
    assert list((tmp_path / "runs").glob("oja_pc1/random-s0-*/run.sqlite"))
