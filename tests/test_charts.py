"""Every chart is well-formed SVG, whatever values and names it shows."""

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from kale_tasks.charts import bars, course, histogram, legend, loss_curve, picture, sparkline

_SVG = "{http://www.w3.org/2000/svg}"
_NAMES = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=30)


@given(st.dictionaries(_NAMES, st.integers(0, 10**12), max_size=8))
def test_bars_show_every_name_and_value(values: dict[str, int]) -> None:
    tree = ElementTree.fromstring(picture(bars(values, "a < b & c"), title='"quoted" & <b>'))
    titles = [title.text for title in tree.iter(f"{_SVG}title")]
    assert titles == [f"{name}: {value:,}" for name, value in values.items()]


@given(st.dictionaries(_NAMES, st.lists(st.integers(0, 1000), min_size=1, max_size=60), min_size=1, max_size=6))
def test_a_histogram_has_one_line_per_series(series: dict[str, list[int]]) -> None:
    tree = ElementTree.fromstring(picture(legend(list(series)), histogram(series, 5, "words")))
    lines = [line for line in tree.iter(f"{_SVG}polyline") if "shape" in str(line.get("class"))]
    assert len(lines) == 2 * len(series)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), _NAMES)
def test_a_sparkline_stays_in_its_frame(values: list[float], label: str) -> None:
    (line,) = ElementTree.fromstring(sparkline(values, label)).iter("polyline")
    points = [tuple(map(float, point.split(","))) for point in str(line.get("points")).split()]
    assert len(points) == len(values) and all(0 <= x <= 120 and 0 <= y <= 32 for x, y in points)


@given(st.lists(st.floats(1e-4, 50), min_size=1, max_size=50))
def test_a_loss_curve_has_a_point_per_loss(losses: list[float]) -> None:
    (line,) = ElementTree.fromstring(picture(loss_curve(list(enumerate(losses, 1))))).iter(f"{_SVG}polyline")
    points = [tuple(map(float, point.split(","))) for point in str(line.get("points")).split()]
    assert len(points) == len(losses)
    assert all(0 <= x <= 640 and 0 <= y <= 320 for x, y in points)


def test_a_course_over_keys_leaves_out_keys_without_the_figure_and_escapes_names() -> None:
    drawn = course({"<b>": 0.5, "2026-11-02": None, "2026-11-03": 2.0}, "share by key", " h")
    assert drawn.count("<circle") == 2 and "<b>" not in drawn and "&lt;b&gt;" in drawn
    assert ">2 h<" in drawn and 'aria-label="share by key"' in drawn
    assert course({}, "nothing").count("<circle") == 0


def test_large_figures_are_written_in_full() -> None:
    drawn = str(course({"a": 999.6, "b": 1999.2, "c": 200_000, "d": 9999.7}, "rows"))
    assert "e+" not in drawn and ">200,000<" in drawn and "d: 10,000" in drawn
