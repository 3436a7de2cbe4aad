"""``apply``, ``get``, ``delete``: what kubectl does, for machines without it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meshpass.cli import option
from meshpass.cli.output import print_data, print_json, render_table, reported_errors, say

if TYPE_CHECKING:
    from meshpass.kube.client import KubeClient
    from meshpass.kube.resource import ResourceKind

Files = Annotated[
    list[str],
    typer.Option("--filename", "-f", help="File, directory, or - for standard input; repeatable.", show_default=False),
]
_SUFFIXES = {".yaml", ".yml", ".json"}


class ObjectFormat(Enum):
    """How ``get`` prints."""

    TABLE = "table"
    WIDE = "wide"
    YAML = "yaml"
    JSON = "json"
    NAME = "name"


def apply(
    filename: Files,
    context: option.Context = None,
    namespace: option.NamespaceName = None,
    directory: option.Directory = None,
) -> None:
    """Store the objects of manifests, as `kubectl apply` does: create, or change what differs.

    Examples:
        meshpass apply --context cluster1 -f route-table.yaml

        meshpass apply -f policies/

        cat policy.yaml | meshpass apply -f -
    """
    with reported_errors():
        from meshpass.kube.apply import apply_raw

        manifests = list(read_manifests(filename))

        async def store(client: KubeClient) -> None:
            for raw in manifests:
                applied = await apply_raw(client, _in_namespace(raw, namespace))
                print_data(f"{_reference(applied.kind, raw['metadata']['name'])} {applied.outcome}")

        _with_client(directory, context, namespace, store)


def get(
    kind: Annotated[str, typer.Argument(help="Kind in any of kubectl's spellings, or KIND/NAME.", show_default=False)],
    name: Annotated[str | None, typer.Argument(help="Object; all of them unless said.", show_default=False)] = None,
    *,
    namespace: option.NamespaceName = None,
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Of all namespaces.")] = False,
    selector: Annotated[
        str | None, typer.Option("--selector", "-l", help="Labels, as in app=httpbin.", show_default=False)
    ] = None,
    output: Annotated[ObjectFormat, typer.Option("--output", "-o", help="Format.")] = ObjectFormat.TABLE,
    context: option.Context = None,
    directory: option.Directory = None,
) -> None:
    """Print objects.

    Examples:
        meshpass get jwtpolicy -A

        meshpass get routetable -n httpbin www-example-com -o yaml --context cluster1
    """
    with reported_errors():
        if name is None:
            kind, _, rest = kind.partition("/")
            name = rest or None

        async def show(client: KubeClient) -> None:
            from meshpass.kube.discovery import discover

            found = await discover(client, kind)
            scope = None if all_namespaces else namespace or client.namespace
            if output in {ObjectFormat.TABLE, ObjectFormat.WIDE}:
                table = await client.table(found, scope, name, label_selector=selector)
                wide = output is ObjectFormat.WIDE
                text = render_objects(table, wide=wide, namespaces=all_namespaces and found.namespaced)
                if text is None:
                    say("No resources found" + (f" in {scope} namespace." if scope and found.namespaced else "."))
                else:
                    print_data(text)
                return
            if name is None:
                items = (await client.list_raw(found, scope, label_selector=selector)).items
            else:
                items = (await client.get_raw(found, scope, name),)
            _print_objects(items, output, found, single=name is not None)

        _with_client(directory, context, namespace, show)


def delete(
    kind: Annotated[str | None, typer.Argument(help="Kind, or KIND/NAME.", show_default=False)] = None,
    name: Annotated[str | None, typer.Argument(help="Object.", show_default=False)] = None,
    *,
    filename: Annotated[
        list[str] | None,
        typer.Option("--filename", "-f", help="Delete what these manifests name.", show_default=False),
    ] = None,
    namespace: option.NamespaceName = None,
    ignore_not_found: Annotated[bool, typer.Option("--ignore-not-found", help="A missing object is fine.")] = False,
    context: option.Context = None,
    directory: option.Directory = None,
) -> None:
    """Delete objects, by name or by the manifests that made them.

    Examples:
        meshpass delete jwtpolicy -n httpbin jwt-policy

        meshpass delete --context cluster1 -f route-table.yaml
    """
    with reported_errors():
        from meshpass.errors import MeshpassError

        if kind is not None and name is None:
            kind, _, name = kind.partition("/")
        if bool(filename) == bool(kind and name):
            raise MeshpassError("delete takes either KIND NAME or -f", hint="meshpass delete --help")
        manifests = [_in_namespace(raw, namespace) for raw in read_manifests(filename or ())]

        async def remove(client: KubeClient) -> None:
            from meshpass.kube.apply import resolve_kind
            from meshpass.kube.discovery import discover

            targets: list[tuple[ResourceKind, str | None, str]] = []
            if kind and name:
                targets.append((await discover(client, kind), namespace, name))
            for raw in manifests:
                metadata = raw["metadata"]
                targets.append((await resolve_kind(client, raw), metadata.get("namespace"), metadata["name"]))
            for target, scope, called in targets:
                await _delete_one(client, target, scope or client.namespace, called, ignore_not_found=ignore_not_found)

        _with_client(directory, context, namespace, remove)


async def _delete_one(
    client: KubeClient, kind: ResourceKind, namespace: str, name: str, *, ignore_not_found: bool
) -> None:
    from meshpass.errors import ApiError

    try:
        await client.delete(kind, namespace, name)
    except ApiError as error:
        if error.code == 404 and ignore_not_found:
            return
        raise
    print_data(f'{_typed(kind)} "{name}" deleted')


def read_manifests(names: list[str] | tuple[()]) -> Iterator[dict[str, Any]]:
    """The manifests of files, of all .yaml, .yml and .json files of directories, and of standard input for ``-``.

    Each names an apiVersion, a kind and a name; one of our own kinds has no unknown field and no bad value. Raises
    MeshpassError, whose message starts with the file's name.
    """
    from meshpass.api.kinds import kind_of
    from meshpass.api.manifest import decode_strict, load_documents
    from meshpass.errors import ManifestError

    for name, text in _texts(names):
        try:
            for raw in load_documents(text):
                _require_name(raw)
                if kind_of(str(raw.get("apiVersion")), str(raw.get("kind"))) is not None:
                    decode_strict(raw)
                yield raw
        except ManifestError as error:
            raise ManifestError(f"{name}: {error}", hint=error.hint) from error


def _require_name(raw: dict[str, Any]) -> None:
    from meshpass.errors import ManifestError

    metadata = raw.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise ManifestError("metadata.name: required")


def _texts(names: list[str] | tuple[()]) -> Iterator[tuple[str, str]]:
    from meshpass.errors import MeshpassError

    for name in names:
        if name == "-":
            yield "standard input", sys.stdin.read()
            continue
        path = Path(name)
        paths = sorted(one for one in path.iterdir() if one.suffix in _SUFFIXES) if path.is_dir() else [path]
        if not paths:
            raise MeshpassError(f"{name}: holds no .yaml, .yml or .json file")
        for one in paths:
            try:
                yield str(one), one.read_text(encoding="utf-8")
            except OSError as error:
                raise MeshpassError(f"{one}: {error.strerror}") from error
            except UnicodeDecodeError as error:
                raise MeshpassError(f"{one}: is not UTF-8 text") from error


def render_objects(table: Any, *, wide: bool, namespaces: bool) -> str | None:
    """A metav1.Table as kubectl prints it; None where it has no rows."""
    columns = [
        (index, column["name"].upper())
        for index, column in enumerate(table["columnDefinitions"])
        if wide or not column.get("priority")
    ]
    rows = [
        ([row["object"]["metadata"].get("namespace", "")] if namespaces else [])
        + [_cell(row["cells"][index]) for index, _ in columns]
        for row in table.get("rows") or ()
    ]
    headers = (["NAMESPACE"] if namespaces else []) + [title for _, title in columns]
    return render_table(headers, rows) if rows else None


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def _print_objects(items: tuple[Any, ...], output: ObjectFormat, kind: ResourceKind, *, single: bool) -> None:
    if output is ObjectFormat.NAME:
        print_data("\n".join(_reference(kind, item["metadata"]["name"]) for item in items))
        return
    shown = [_without_managers(item) for item in items]
    value = shown[0] if single else {"apiVersion": "v1", "kind": "List", "metadata": {}, "items": shown}
    if output is ObjectFormat.JSON:
        print_json(value)
        return
    import yaml

    print_data(yaml.dump(value, Dumper=yaml.CSafeDumper, sort_keys=True, allow_unicode=True, width=4096))


def _without_managers(item: dict[str, Any]) -> dict[str, Any]:
    """The object as kubectl shows it: who owns which field is for programs."""
    metadata = {name: value for name, value in item["metadata"].items() if name != "managedFields"}
    return {**item, "metadata": metadata}


def _reference(kind: ResourceKind, name: str) -> str:
    return f"{_typed(kind)}/{name}"


def _typed(kind: ResourceKind) -> str:
    return f"{kind.kind.lower()}.{kind.group}" if kind.group else kind.kind.lower()


def _in_namespace(raw: dict[str, Any], namespace: str | None) -> dict[str, Any]:
    """The manifest, in the namespace of the command line where it names none. Raises MeshpassError where both differ."""
    own = raw["metadata"].get("namespace")
    if namespace is None or own == namespace:
        return raw
    if own:
        from meshpass.errors import MeshpassError

        raise MeshpassError(
            f"{raw['kind']} {raw['metadata']['name']} is of namespace {own}, not of {namespace}",
            hint="leave out -n, or change metadata.namespace",
        )
    return {**raw, "metadata": {**raw["metadata"], "namespace": namespace}}


def _with_client(
    directory: Path | None,
    context: str | None,
    namespace: str | None,
    work: Callable[[KubeClient], Coroutine[Any, Any, None]],
) -> None:
    from meshpass.kube.client import KubeClient
    from meshpass.localmesh.directory import state_directory

    state = state_directory(directory)
    record = state.running()

    async def run() -> None:
        cluster = context or record.management
        async with KubeClient.from_kubeconfig(state.kubeconfig, context, cluster=cluster) as client:
            client.namespace = namespace or client.namespace
            await work(client)

    asyncio.run(run())
