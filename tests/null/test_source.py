"""Scalar expressions as source text. Whether the text computes what it should, the plugins' tests show by compiling it."""

import re

import numpy as np
import pytest

from mxcore.registry import expr as E
from mxcore.registry.source import FUNCTIONS, OWN, C, Dialect, Source

F4, F8 = np.dtype("float32"), np.dtype("float64")
X, Y = E.arg("x"), E.arg("y")

#: a language with overloaded functions, without double precision, and with its own words
OTHER = Dialect("other", {"float32": "float", "float64": "double"}, {"float32": "f"}, functions={"erfinv": "erfinv({0})"},
                words={"INFINITY": "HUGE", "bool": "int"}, prefix="inline ")


def written(*exprs: E.Expr, dialect: Dialect = C, dtype: np.dtype = F4) -> tuple[Source, list[str]]:
    """The writer after these expressions over x and y, and the names of their values."""
    source = Source(dialect, dtype)
    source.operand("x", "px[i]", dtype)
    source.operand("y", "py[i]", dtype)
    return source, [source.number(source.value(e)) for e in exprs]


def text_of(*exprs: E.Expr, dialect: Dialect = C, dtype: np.dtype = F4) -> str:
    """All statements."""
    return " ".join(s.text for s in written(*exprs, dialect=dialect, dtype=dtype)[0].statements)


def arguments(name: str) -> list[E.Expr]:
    """Operands for a function."""
    return [X, Y, X][: max(int(n) for n in re.findall(r"\{(\d)\}", FUNCTIONS[name])) + 1]


@pytest.mark.parametrize("name", sorted(E.FUNCTIONS))
@pytest.mark.parametrize("dtype", [F4, F8], ids=str)
def test_every_function_can_be_written(name: str, dtype: np.dtype) -> None:
    source, (result,) = written(E.Expr(name, tuple(arguments(name))), dtype=dtype)
    defined = set()
    for s in source.statements:
        assert "{" not in s.value and "real" not in s.value.split()
        for t in re.findall(r"\bt\d+\b", s.value):
            assert t in defined, s.text
        defined.add(s.name)
    assert result in defined
    assert source.statements[-1].reads <= {"x", "y"}


def test_polygamma_and_all_own_functions_are_reached() -> None:
    exprs = [E.Expr(n, tuple(arguments(n))) for n in FUNCTIONS]
    source, _ = written(*exprs)
    assert set(source.functions) == set(OWN), "in float32 they compute in double precision"
    assert all(d.startswith("static double") for d in source.functions.values())


def test_equal_parts_are_computed_once() -> None:
    e = E.exp(X * Y)
    assert text_of(e + 1, e * 2, E.exp(X * Y)).count("exp") == 1


def test_numbers_have_the_type_of_the_arithmetic() -> None:
    e = X * 0.1 + 2 - E.Expr("const", (-3.5,)) * 1e-12
    assert "x0 * 0.1f" in text_of(e) and "2.0f" in text_of(e) and "(-3.5f)" in text_of(e) and "1e-12f" in text_of(e)
    assert not re.search(r"\d\.?\d*f\b", text_of(e, dtype=F8))
    assert "expf(" in text_of(E.exp(X)) and "exp(" in text_of(E.exp(X), dtype=F8)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e-45, 3e38, 1e22, 123456789.0, -0.0, 5])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_literal_is_the_number(value: float, dtype: str) -> None:
    text = C.literal(value, dtype).strip("()").removesuffix("f")
    got, want = np.dtype(dtype).type(text), np.dtype(dtype).type(value)
    assert got == want and np.signbit(got) == np.signbit(want)
    assert "." in text or "e" in text, "an integer would divide as one"


def test_special_literals() -> None:
    assert [C.literal(v, "float32") for v in (np.nan, np.inf, -np.inf)] == ["NAN", "INFINITY", "(-INFINITY)"]
    assert OTHER.literal(-np.inf, "float32") == "(-HUGE)"


def test_truth_values_and_numbers() -> None:
    text = text_of((X > Y) + 1)
    assert "const bool t0 = x0 > x1" in text and "t0 ? 1.0f : 0.0f" in text
    text = text_of(E.where(X, Y, 2))
    assert "const bool t0 = x0 != 0.0f" in text and "t0 ? x1 : 2.0f" in text
    assert "x0 != 0.0f" in text_of(E.logical_and(X, X > Y))


def test_simple_powers_are_products() -> None:
    assert "pow" not in text_of(X**2, X**3, X**-1, X**0.5, X**-0.5, X**4)
    assert "powf(x0, 2.5f)" in text_of(X**2.5) and "powf(x0, x1)" in text_of(X**Y)


def test_statements_say_what_they_depend_on() -> None:
    source, _ = written(E.exp(X) * Y)
    reads = {s.name: s.reads for s in source.statements}
    assert reads == {"x0": {"x"}, "x1": {"y"}, "t0": {"x"}, "t1": {"x", "y"}}


def test_operands_may_have_any_name() -> None:
    source = Source(C, F4)
    for name in ("if", "t0", "x1", "w"):
        source.operand(name, f"p_{name}[i]", F4)
    source.value(E.arg("if") + E.arg("t0") * E.arg("x1") - E.arg("w"))
    names = [s.name for s in source.statements]
    assert len(set(names)) == len(names) == 7 and not {"if", "w"} & set(names)


def test_a_dialect_is_a_table() -> None:
    text = text_of(E.exp(X) + E.isinf(X) + E.erfinv(Y), dialect=OTHER)
    assert "exp(x0)" in text and "fabs(x0) == HUGE" in text and "const int" in text and "erfinv(x1)" in text
    source, _ = written(E.digamma(X), dialect=OTHER)
    assert source.functions["own_digamma"].startswith("inline float own_digamma(float x)")
    assert not re.search(r"\d\.\d+(?!\d*f)\b", source.functions["own_digamma"]), "a number of double precision"


def test_short_types_are_converted_at_memory() -> None:
    source = Source(C, F4)
    source.operand("x", "x[i]", np.dtype("float16"))
    assert source.statements[0].text == "const float x0 = from_float16(x[i]);"
    assert source.element("t1", np.dtype("float16")) == "to_float16(t1)"
    assert set(source.functions) == {"from_float16", "to_float16"}
    assert source.element("t1", F8) == "(double)t1" and source.element("t1", np.dtype("int32")) == "(int32_t)t1"
    assert source.element("t1", np.dtype("bool")) == "t1 != 0"
