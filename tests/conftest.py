"""What all tests share: tiers, the session's seed, figures without a screen.

Compiled code stays in the user's own cache folder, so that a second session compiles nothing.
"""

import datetime
import os

import pytest

os.environ.setdefault("MPLBACKEND", "Agg")

TIERS = {"full": "EVOSEARCH_FULL", "science": "EVOSEARCH_SCIENCE"}


def _is_on(variable):
    return os.environ.get(variable, "") not in ("", "0")


def _session_seed():
    """Return a seed that changes every day; workers of one session get the first process's."""
    text = os.environ.setdefault("EVOSEARCH_TEST_SEED", str(datetime.date.today().toordinal()))
    return int(text)


def pytest_configure(config):
    _session_seed()


def pytest_report_header(config):
    tiers = [name for name, variable in TIERS.items() if _is_on(variable)]
    return f"evosearch: EVOSEARCH_TEST_SEED={_session_seed()}, tiers: {', '.join(['test', *tiers])}"


def pytest_collection_modifyitems(config, items):
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
