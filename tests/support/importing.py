"""Imports modules with or without pyworker's import cache, and tells what came of it. Run by tests/worker/test_72_imports.py:

    python importing.py WORKER_DIR RECORD|- ROOT... [-- MODULE...]

Of each ROOT all modules are imported; of MODULE only the named ones. What is told is one JSON object."""

import json
import os
import sys


def describe(module):
    """What somebody can see of a module without using it."""
    spec = getattr(module, "__spec__", None)
    facts = {name: str(getattr(module, name, None)) for name in ("__file__", "__cached__", "__package__", "__name__")}
    facts["__path__"] = list(getattr(module, "__path__", ()))
    facts["namespace"] = sorted((name, type(value).__name__) for name, value in list(vars(module).items()) if isinstance(name, str))
    if spec is not None:
        facts["spec"] = [str(getattr(spec, name, None)) for name in (
            "name", "origin", "cached", "submodule_search_locations", "parent", "has_location", "loader_state")]
        facts["loader"] = type(spec.loader).__module__, type(spec.loader).__name__, module.__loader__ is spec.loader
        facts["of the loader"] = repr(sorted(vars(spec.loader).items())) if type(spec.loader).__name__ in (
            "SourceFileLoader", "ExtensionFileLoader") else ""
    return facts


def modules_of(root):
    import pkgutil

    yield root
    package = sys.modules.get(root)
    for found in pkgutil.walk_packages(getattr(package, "__path__", ()), root + ".", onerror=lambda name: None):
        if "__main__" not in found.name:
            yield found.name


def take(name, failures):
    try:
        __import__(name)
    except BaseException as error:
        failures[name] = type(error).__name__ + ": " + str(error)


def main():
    worker_dir, record, *names = sys.argv[1:]
    only = names[names.index("--") + 1 :] if "--" in names else []
    roots = names[: names.index("--")] if "--" in names else names
    sys.path.append(worker_dir)
    before = set(sys.modules)
    cache = None
    if record != "-":
        from pyworker.importcache import open_cache

        cache = open_cache(record)
    used = cache is not None and not cache.recording
    failures = {}
    for name in only:
        take(name, failures)
    for root in roots:
        for name in modules_of(root):
            take(name, failures)
    if cache is not None:
        cache.remove()
        outdated = cache.outdated
        if os.environ.get("KEEP", "1") == "1":
            from pyworker.importrecord import keep

            keep(cache, record, 10**6)
    imported = [name for name in sys.modules if name not in before and not name.startswith("pyworker")]
    print(json.dumps({
        "used": used, "failures": failures, "outdated": cache is not None and outdated,
        "meta_path": [getattr(finder, "__name__", type(finder).__name__) for finder in sys.meta_path],
        "modules": {name: describe(sys.modules[name]) for name in imported}}))


main()
