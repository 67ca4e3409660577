"""A dataset to the text formats that can be imported, for other programs and for a round trip."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..data import components, datasets
from ..data.formats import FORMATS
from ..data.formats.part import Part
from ..data.lines import write_lines
from ..errors import DisentangleError
from ..params import FEATURES
from ..storage import atomic
from ..storage.files import unwritten
from ..storage.places import check_apart


def export_dataset(data_dir: Path, name: str, format: str, out: Path, features: str = FEATURES) -> list[Path]:
    """Write a dataset's two parts and its label names in another format.

    Parameters
    ----------
    data_dir : Path
    name : str
    format : str
        A key of `FORMATS` that can be written. Text formats need `X.trn.txt` and `X.tst.txt` in the dataset's
        folder.
    out : Path
        A folder that does not exist yet; it is made whole or not at all.
    features : str
        Which of the dataset's feature sets.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    DisentangleError
        If the dataset cannot be loaded, has no text where the format needs it, has names that the format
        cannot tell apart, or `out` exists or cannot be written.
    """
    if not out.name:
        raise DisentangleError(f"--out must name a folder to make, got {str(out)!r}")
    folder = datasets.dataset_folder(data_dir, name)
    check_apart("--out", out, [folder])
    if (write := FORMATS[format].write) is None:
        raise DisentangleError(f"{format} can be imported only")
    read = datasets.load_parts(folder, features)
    names = components.label_names(folder, read["Y_trn"].shape[1])
    written = [FORMATS[format].as_written(label) for label in names]
    if FORMATS[format].has_names and (repeated := components.first_repeated(written)):
        first, again = repeated
        raise DisentangleError(
            f"{format} tells labels by their names, which must differ: labels {first} and {again} "
            f"are both {written[first]!r}"
        )
    parts = [
        Part(part, read[f"X_{part}"], read[f"Y_{part}"], folder / f"X.{part}.txt", written)
        for part in ("trn", "tst")
    ]
    with atomic.claim(out) as temporary:
        if out.exists():
            raise DisentangleError(f"{out} must not exist yet, it is made anew")
        try:
            temporary.mkdir()
            write_lines(temporary / components.LABEL_NAMES, names)
            if (folder / components.URIS).exists():
                shutil.copyfile(folder / components.URIS, temporary / components.URIS)
            for part in parts:
                write(temporary, part)
            files = sorted(path.name for path in temporary.iterdir())
            atomic.publish(temporary, out)
        except OSError as error:
            raise unwritten(error, out) from error
    return [out / file for file in files]
