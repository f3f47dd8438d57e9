"""What is special about regularised evolution."""

import numpy as np
from search_problems import evaluation

from evosearch.search.regularised_evolution import RegularisedEvolution
from evosearch.spaces import VectorSpace

SHAPES = ((3, 4), (2, 4))


def search_of(**settings):
    space = VectorSpace(20, low=0.0, high=1.0, shapes=SHAPES)
    return RegularisedEvolution(space, seed=2, **settings)


def test_children_differ_from_the_winner_in_one_number_one_row_or_one_array():
    search = search_of(living=2, population=3000, mutation=1.0)
    parent = np.full(20, 0.5)
    search.tell([parent, parent], evaluation(np.ones((2, 1))))
    changed = np.array(search.ask()) != 0.5
    counts = changed.sum(axis=1)
    assert set(counts) == {1, 4, 12, 8}
    assert abs((counts == 1).mean() - 1 / 3) < 0.03
    assert abs((counts == 4).mean() - 1 / 3) < 0.03
    rows = changed[counts == 4].reshape(-1, 5, 4)
    assert set(rows.sum(axis=2).ravel()) == {0, 4}
    assert rows.any(axis=2).any(axis=0).all()
    assert changed[counts == 12][:, :12].all()
    assert changed[counts == 8][:, 12:].all()


def test_the_oldest_die_however_good_they_are():
    search = search_of(living=4, population=4, mutation=0.0, tournament=50)
    first = search.ask()
    search.tell(first, evaluation(np.array([[9.0], [1.0], [2.0], [3.0]])))
    assert all((child == first[0]).all() for child in search.ask())
    others = [np.full(20, 0.1 * k) for k in range(4)]
    search.tell(others, evaluation(np.array([[1.0], [2.0], [0.0], [1.0]])))
    assert all((child == others[1]).all() for child in search.ask())


def test_immigrants_are_random_and_numbers_are_rounded():
    search = search_of(living=10, population=10, immigrants=0.3, decimals=2, mutation=0.0)
    first = search.ask()
    search.tell(first, evaluation(np.ones((10, 1))))
    known = {one.tobytes() for one in first}
    asked = search.ask()
    assert [one.tobytes() in known for one in asked] == [False] * 3 + [True] * 7
    assert (np.round(asked, 2) == np.array(asked)).all()
    assert len({one.tobytes() for one in asked[:3]}) == 3


def told(search, values):
    """Tell a search candidates that are as good as their first number says."""
    points = [np.full(20, value) for value in values]
    search.tell(points, evaluation(np.array(values)[:, None]))


def test_the_worst_die_where_asked():
    search = search_of(living=3, population=60, mutation=0.0, tournament=1, dying="worst")
    told(search, [0.5, 0.1, 0.9])
    told(search, [0.2, 0.7])
    assert {child[0] for child in search.ask()} == {0.5, 0.9, 0.7}


def test_of_equals_the_newest_alone_lives():
    search = search_of(living=3, population=60, mutation=0.0, tournament=1, distinct=True)
    points = [np.full(20, value) for value in (0.1, 0.2, 0.3, 0.4)]
    search.tell(points, evaluation(np.array([[1.0], [2.0], [1.0], [1.0]])))
    assert {child[0] for child in search.ask()} == {0.2, 0.4}
    told(search, [0.5, 0.6])
    assert {child[0] for child in search.ask()} == {0.4, 0.5, 0.6}


def test_a_child_may_have_several_parts_drawn_anew():
    search = search_of(living=2, population=2000, mutation=1.0, changes=3)
    told(search, [0.5, 0.5])
    counts = (np.array(search.ask()) != 0.5).sum(axis=1)
    assert {1, 2, 3, 4, 5, 8, 12, 20} <= set(counts)
    # One change in a third of children, of one number in a third of these; or the same one twice.
    assert abs((counts == 1).mean() - (1 + 1 / 60 + 1 / 3600) / 9) < 0.03
