"""What all tests share: tiers, the session's seed, figures without a screen.

Compiled code stays in the user's own cache folder, so that a second session compiles nothing.
"""

import datetime as dt
import os

import pytest

os.environ.setdefault("MPLBACKEND", "Agg")

TIERS = {"full": "EVOSEARCH_FULL", "science": "EVOSEARCH_SCIENCE"}


def _is_on(variable):
    return os.environ.get(variable, "") not in ("", "0")


def _session_seed():
    """Return a seed that changes every day; workers of one session get the first process's."""
    today = dt.datetime.now(dt.UTC).toordinal()
    return int(os.environ.setdefault("EVOSEARCH_TEST_SEED", str(today)))


def pytest_configure(config):
    _session_seed()


def pytest_report_header(config):
    tiers = [name for name, variable in TIERS.items() if _is_on(variable)]
    return f"evosearch: EVOSEARCH_TEST_SEED={_session_seed()}, tiers: {', '.join(['test', *tiers])}"


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(config, items):
    for item in items:
        if "science" in item.path.relative_to(config.rootpath).parts:
            item.add_marker(pytest.mark.science)
    for name, variable in TIERS.items():
        if not _is_on(variable):
            skip = pytest.mark.skip(reason=f"{name} tests run with {variable}=1")
            for item in items:
                if item.get_closest_marker(name):
                    item.add_marker(skip)


@pytest.fixture(scope="session")
def session_seed():
    """The printed seed of this session, for tests that try other cases every day."""
    return _session_seed()


@pytest.fixture(scope="session")
def is_full():
    """Whether tests run at the size that a release needs."""
    return _is_on("EVOSEARCH_FULL")
