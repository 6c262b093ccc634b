"""Can an atomic file be read, and if not, which line is wrong?"""

from recbole.utils.enum_type import FeatureType

KINDS = [kind.value for kind in FeatureType]


class DataError(ValueError):
    """The data cannot be used as they are; the message says where and what to do."""


def check_lines(path, separator, encoding):
    """Checks what RecBole's reader would pass over in a file of interactions.

    Args:
        path (str or Path): the file.
        separator (str): what parts the columns.
        encoding (str): of the file; None for the machine's own.

    Raises:
        DataError: if it holds no interactions, a column has no type, a line has more fields than
            there are columns, or a field begins with a quotation mark that nothing closes.
    """
    with open(path, encoding=encoding) as file:
        columns = _columns(path, file.readline(), separator)
        any_row = False
        for number, line in enumerate(file, start=2):
            any_row = any_row or not line.isspace()
            found = line.count(separator) + 1
            # pandas drops the surplus or, in the first line, takes it for row labels.
            if found > len(columns):
                raise DataError(
                    f"{path} line {number}: {found} fields under the {len(columns)} columns of "
                    "line 1"
                )
            # pandas reads on until the next quotation mark, lines later.
            if '"' in line and any(map(_is_open, line.rstrip("\n").split(separator))):
                raise DataError(
                    f"{path} line {number}: a field begins with a quotation mark that is not closed"
                )
    if not any_row:
        raise DataError(f"{path} holds no interactions")


def _columns(path, head, separator):
    columns = head.rstrip("\n").split(separator)
    for column in columns if head else []:
        name, _, kind = column.partition(":")
        if not name or kind not in KINDS:
            raise DataError(
                f"{path} line 1: {column!r} is not name:type with a type of {KINDS}; the first "
                f"line names the columns, parted by {separator!r}, each like user_id:token"
            )
    return columns


def _is_open(field):
    return field.startswith('"') and (len(field) == 1 or not field.endswith('"'))


def first_bad_number(path, separator, encoding):
    """Finds the line because of which a file cannot be read.

    Args:
        path (str or Path): the file.
        separator (str): what parts the columns.
        encoding (str): of the file.

    Returns:
        str: the file, the line and what stands there; None if no number is at fault.
    """
    with open(path, encoding=encoding, errors="replace") as file:
        columns = file.readline().rstrip("\n").split(separator)
        for number, line in enumerate(file, start=2):
            for column, field in zip(columns, line.rstrip("\n").split(separator)):
                if column.endswith(":float") and field and not _is_number(field):
                    return f"{path} line {number}: {column} holds {field!r}"
    return None


def _is_number(field):
    try:
        float(field)
    except ValueError:
        return False
    return True
