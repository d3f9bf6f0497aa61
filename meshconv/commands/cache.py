"""``meshconv cache``: folder, size and emptying of the cache."""

from __future__ import annotations

from pathlib import Path

from meshconv.commands.parser import Parser


def run(args: list[str]) -> None:
    parser = Parser(
        prog="meshconv cache",
        description="Cache of prepared meshes and regridding weights. MESHCONV_CACHE is its folder (empty: no cache), "
        "MESHCONV_CACHE_SIZE its maximum size, such as 500M or 20G (default 10G): above it the least recently used "
        "entries are removed.",
    )
    parser.add_argument("--folder", type=Path, help="default: MESHCONV_CACHE, else ~/.cache/meshconv")
    parser.add_argument("--clear", action="store_true", help="remove all entries")
    given = parser.parse_args(args[1:])
    from meshconv.io.cache.cache import Cache

    cache = Cache.choose(given.folder or True)
    if given.clear:
        print(f"{cache.clear()} files removed")
    entries, size = cache.size
    print(f"{cache.folder or 'no folder'}: {entries} entries, {size / 1e6:.1f} MB of {cache.limit / 1e6:,.0f} MB")
