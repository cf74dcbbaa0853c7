"""What an experiment may ask the installer for."""

from __future__ import annotations

from pathlib import Path

import pytest
from fedenvoy.workspace.requirements import Requirements, bounded_names, expand, normalise, project_name


def expanded(root: Path, text: str) -> Requirements:
    return expand(normalise(text.encode()), root)


def test_B30_other_files_of_the_archive_are_included_wherever_they_lie(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more/a.txt").write_text("numpy\n-r b.txt\n-c ../limits.txt\n")
    (tmp_path / "more/b.txt").write_bytes(b"\xef\xbb\xbf# two\r\npandas\r\n--pre\r\n")
    (tmp_path / "limits.txt").write_text("scipy<2\n")
    assert expanded(
        tmp_path, "attrs\n-r more/a.txt\n--index-url=https://example.org/simple --no-index\n"
    ) == Requirements(
        options=("--pre", "--index-url https://example.org/simple", "--no-index"),
        lines=("pandas", "numpy", "attrs"),
        constraints=("scipy<2",),
    )


def test_paths_of_the_archive_become_absolute(tmp_path: Path) -> None:
    text = "--find-links wheels --index-url https://example.org\n./lib/a.whl\n"
    text += "b @ lib/b.whl ; python_version > '3'\nc[d]==1\n./lib/d.whl --hash=sha256:00\n"
    assert expanded(tmp_path, text) == Requirements(
        options=(f"--find-links {tmp_path}/wheels", "--index-url https://example.org"),
        lines=(
            f"{tmp_path}/lib/a.whl",
            f"b @ {tmp_path}/lib/b.whl ; python_version > '3'",
            "c[d]==1",
            f"{tmp_path}/lib/d.whl --hash=sha256:00",
        ),
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("-e .", "editable"),
        ("--editable=git+https://example.org/x#egg=x", "editable"),
        ("numpy @ file:///croot/numpy", "file: addresses"),
        ("git+file:///home/x", "file: addresses"),
        ("-f FILE:///wheels", "file: addresses"),
        ("-r ../other.txt", "outside the experiment's archive"),
        ("-r /etc/passwd", "outside the experiment's archive"),
        ("-rlink.txt", "outside the experiment's archive"),
        ("-c https://example.org/limits.txt", "not in the archive"),
        ("-r missing.txt", "not in the archive"),
        ("../lib/a.whl", "outside the experiment's archive"),
        ("/lib/a.whl", "outside the experiment's archive"),
        ("a @ /lib/a.whl", "outside the experiment's archive"),
        ("--find-links ../wheels", "outside the experiment's archive"),
        ("--find-links /srv/wheels", "outside the experiment's archive"),
        ("git+https://example.org/x", "no hash binds"),
        ("x[y] @ git+ssh://git@example.org/x@main ; python_version > '3'", "no hash binds"),
        ("b @ ../b.whl --hash=sha256:00", "outside the experiment's archive"),
        ("--index-url https://example.org/${SECRET_TOKEN}", "variable of this node's environment"),
        ("-r self.txt", "include more than"),
        ("--index-url 'x", "cannot be read"),
        ("- x", "is not an option"),
    ],
)
def test_B38_a_line_that_reaches_outside_the_archive_is_refused(tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / "self.txt").write_text("-r self.txt\nnumpy\n")
    (tmp_path / "link.txt").symlink_to("/etc/passwd")
    with pytest.raises(ValueError, match=words):
        expand(line, tmp_path)


def test_only_bounds_from_above_decide_a_version() -> None:
    lines = [
        "numpy",
        "Pandas>=2",
        "openfl==1.5",
        "scipy ~= 1.0",
        "a_b<2;python_version<'4'",
        "c @ https://example.org/c",
    ]
    assert bounded_names(lines) == {"openfl", "scipy", "a-b", "c"}
    assert bounded_names(["d[extra] >=1,<2", "e ; python_version < '3'", "f (==1)", "--pre"]) == {"d", "f"}
    assert project_name("Some.Project_x[y]>=1") == "some-project-x"
