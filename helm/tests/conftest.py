"""What several tests render; once a run."""

import functools
from concurrent.futures import ThreadPoolExecutor

import pytest

from helm.tests.chart import EXAMPLES, Object, example, render
from helm.tests.matrix import matrix


@functools.cache
def _rendered() -> dict[str, list[Object]]:
    found = {name: example(name) for name in EXAMPLES}
    values = matrix()
    with ThreadPoolExecutor(2) as pool:
        return found | dict(zip(values, pool.map(render, values.values()), strict=True))


@pytest.fixture(scope="session")
def rendered() -> dict[str, list[Object]]:
    """Objects by the name of the example or by the choices of the matrix. Not to be changed."""
    return _rendered()
