"""What modules know of each other goes one way, also where they name each other's types alone."""

import grimp


def circular(imports: dict[str, set[str]]) -> set[str]:
    """Modules in a circle, or between two: what is left when those are taken away that import, or are imported by,
    nothing that is left."""
    while True:
        imported = set[str]().union(*imports.values())
        ends = {name for name, others in imports.items() if not others or name not in imported}
        if not ends:
            return set(imports)
        imports = {name: others - ends for name, others in imports.items() if name not in ends}


def test_no_module_imports_another_that_imports_it() -> None:
    graph = grimp.build_graph("service", "adapters", exclude_type_checking_imports=False, cache_dir=None)
    imports = {name: set(graph.find_modules_directly_imported_by(name)) for name in graph.modules}
    assert len(imports) > 400
    assert circular(imports) == set()


def test_a_circle_is_found_and_what_only_leads_to_it_is_not() -> None:
    imports = {"top": {"a"}, "a": {"b"}, "b": {"c"}, "c": {"a", "floor"}, "floor": set[str]()}
    assert circular(imports) == {"a", "b", "c"}
