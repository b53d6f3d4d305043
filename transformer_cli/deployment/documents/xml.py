"""XML from strangers: entities are not expanded, and neither files nor the network are used."""

from __future__ import annotations

from typing import Any

from transformer_cli.errors import ConfigError, DataError


def import_lxml() -> Any:
    """Import `lxml.etree`. Raises: ConfigError if it is not installed."""
    try:
        from lxml import etree
    except ImportError:
        raise ConfigError(
            "documents in XML need the package lxml, which is not installed",
            hint="install it: pip install lxml   (or this package with the extra [documents])",
        ) from None
    return etree


def parse_xml(data: bytes, name: str = "") -> Any:
    """The root element of an XML file.

    Args:
        name: of the part of a document that it is, for messages.

    Raises:
        DataError: it is not well-formed, declares entities, or is nested too deep for any writer.
        ConfigError: lxml is not installed.
    """
    etree = import_lxml()
    place = f"{name}: " if name else ""
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, strip_cdata=False
    )
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise DataError(f"{place}line {line}: is not well-formed XML: {_reason(error)}") from None
    dtd = root.getroottree().docinfo.internalDTD
    if dtd is not None and any(True for _ in dtd.iterentities()):
        raise DataError(
            f"{place}declares XML entities, which are not expanded for safety", hint="remove them from its DOCTYPE"
        )
    return root


def write_xml(root: Any, standalone: bool | None = None) -> bytes:
    """The bytes of an XML file, in the encoding that it had."""
    tree = root.getroottree()
    encoding = tree.docinfo.encoding or "UTF-8"
    standalone = tree.docinfo.standalone if standalone is None else standalone
    written: bytes = import_lxml().tostring(tree, xml_declaration=True, encoding=encoding, standalone=standalone)
    return written


def _reason(error: Exception) -> str:
    """The message of a parser without the place, which is given otherwise."""
    return str(error).partition(", line ")[0]
