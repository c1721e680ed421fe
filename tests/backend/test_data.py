"""The contract: storages, files, data collections, data units."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from synapse_core.backend import Backend, FileReference, FileSpecification, NewDataUnit
from synapse_core.errors import BackendError, BackendRejected, InvalidAnswer, RecordNotFound, StorageError

IMAGE = FileSpecification(name="image", is_primary=True, extensions=(".png",))


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_a_backend_tells_what_and_where_it_is(backend: Backend):
    told = backend.check()

    assert set(told) == {"kind", "address", "version"}
    assert all(isinstance(value, str) and value for value in told.values())


# Storages


def test_the_default_storage_comes_to_be_when_it_is_first_needed(backend: Backend, tmp_path: Path):
    assert list(backend.list_storages()) == []

    file = backend.create_data_file(write(tmp_path / "a.png", b"one"))

    (storage,) = backend.list_storages()
    assert storage.is_default
    assert storage.id == file.file.storage
    assert backend.get_storage(storage.id) == storage


def test_the_configuration_of_a_storage_is_given_to_who_asks_for_it(backend: Backend, tmp_path: Path):
    location = {"location": str(tmp_path / "elsewhere")}

    made = backend.create_storage("Elsewhere", "local", location)

    assert made.configuration == {}
    assert backend.get_storage(made.id).configuration == {}
    assert [storage.configuration for storage in backend.list_storages()] == [{}]
    assert backend.get_storage(made.id, with_configuration=True).configuration == location


def test_one_storage_is_the_default(backend: Backend, tmp_path: Path):
    first = backend.create_storage("One", "local", {"location": str(tmp_path / "one")}, is_default=True)
    second = backend.create_storage("Two", "local", {"location": str(tmp_path / "two")}, is_default=True)
    backend.create_storage("Three", "local", {"location": str(tmp_path / "three")})

    assert [storage.id for storage in backend.list_storages({"is_default": True})] == [second.id]
    assert not backend.get_storage(first.id).is_default
    assert backend.create_data_file(write(tmp_path / "a.png", b"one")).file.storage == second.id


@pytest.mark.parametrize(
    ("provider", "configuration"), [("floppy", {}), ("local", {}), ("local", {"location": ""})]
)
def test_a_storage_that_could_not_be_opened_is_not_made(
    backend: Backend, provider: str, configuration: dict[str, Any]
):
    with pytest.raises((StorageError, BackendRejected)):
        backend.create_storage("Wrong", provider, configuration)

    assert backend.list_storages().count == 0


# Files


def test_a_file_comes_back_as_it_was(backend: Backend, tmp_path: Path):
    content = bytes(range(256)) * 1000

    made = backend.create_data_file(write(tmp_path / "a b.png", content))

    assert made.file.name == "a b.png"
    assert made.file.size_bytes == len(content)
    assert made.file.checksum == hashlib.sha256(content).hexdigest()
    fetched = backend.download_file(made.file, tmp_path / "new" / "folder" / "b.png")
    assert fetched == tmp_path / "new" / "folder" / "b.png"
    assert fetched.read_bytes() == content


def test_the_same_content_is_stored_once(backend: Backend, tmp_path: Path):
    first = backend.create_data_file(write(tmp_path / "a.png", b"same"))
    second = backend.create_data_file(write(tmp_path / "b.png", b"same"))
    other = backend.create_data_file(write(tmp_path / "c.png", b"other"))

    assert (second.id, second.file.path) == (first.id, first.file.path)
    assert (first.file.name, second.file.name) == ("a.png", "b.png")
    assert other.id != first.id
    stored = [name for name, _ in backend.open_storage().list()]
    assert sorted(stored) == sorted({first.file.path, other.file.path})


def test_a_file_goes_into_the_storage_that_is_named(backend: Backend, tmp_path: Path):
    there = backend.create_storage("There", "local", {"location": str(tmp_path / "there")})

    made = backend.create_data_file(write(tmp_path / "a.png", b"one"), storage=there.id, name="named.png")

    assert (made.file.storage, made.file.name) == (there.id, "named.png")
    assert backend.open_storage(there.id).read_bytes(made.file.path) == b"one"


@pytest.mark.parametrize("missing", ["nothing.png", "."])
def test_what_is_no_file_is_not_stored(backend: Backend, tmp_path: Path, missing: str):
    with pytest.raises(BackendRejected, match="no file"):
        backend.create_data_file(tmp_path / missing, name="a.png")


def test_a_file_that_was_changed_in_its_storage_is_not_given_out(backend: Backend, tmp_path: Path):
    made = backend.create_data_file(write(tmp_path / "a.png", b"right"))
    backend.open_storage().write_bytes(made.file.path, b"wrong")
    target = write(tmp_path / "target.png", b"what was there before")

    with pytest.raises(InvalidAnswer, match="not what it was"):
        backend.download_file(made.file, target)

    assert target.read_bytes() == b"what was there before"
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["a.png", "target.png"]


def test_a_file_that_is_gone_is_missed(backend: Backend, tmp_path: Path):
    made = backend.create_data_file(write(tmp_path / "a.png", b"right"))
    backend.open_storage().delete(made.file.path)

    with pytest.raises((StorageError, BackendError)):
        backend.download_file(made.file, tmp_path / "target.png")
    assert not (tmp_path / "target.png").exists()

    # Whoever stores it again heals it.
    assert backend.create_data_file(tmp_path / "a.png") == made
    assert backend.download_file(made.file, tmp_path / "target.png").read_bytes() == b"right"


# Collections and units


def test_a_data_collection_keeps_its_file_specifications(backend: Backend):
    depth = FileSpecification(name="depth", file_type="pcd", is_required=False)

    made = backend.create_data_collection("Streets", [IMAGE, depth], category="pcd", description="of Seoul")

    assert made.file_specifications == (IMAGE, depth)
    assert backend.get_data_collection(made.id) == made
    assert list(backend.list_data_collections({"category": "pcd"})) == [made]
    assert backend.list_data_collections({"category": "image"}).count == 0


@pytest.mark.parametrize(
    ("specifications", "complaint"),
    [
        ([], "there is none"),
        ([IMAGE, IMAGE], "'image' is there twice"),
        ([FileSpecification(name="a", file_type="hologram")], "hologram"),
        ([FileSpecification(name="a", extensions=("png",))], "'png'"),
        ([FileSpecification(name=" ")], "is empty"),
        ([IMAGE, msgspec.structs.replace(IMAGE, name="b")], "more than one is primary"),
    ],
)
def test_file_specifications_that_cannot_be_used_are_refused(
    backend: Backend, specifications: list[FileSpecification], complaint: str
):
    with pytest.raises(BackendRejected, match=complaint):
        backend.create_data_collection("Streets", specifications)


@pytest.mark.parametrize("name", ["", "  ", "a\x00b", "a\nb", "n" * 201])
def test_names_that_cannot_be_kept_are_refused(backend: Backend, name: str):
    with pytest.raises(BackendRejected):
        backend.create_data_collection(name, [IMAGE])


def test_data_units_are_made_in_their_order(backend: Backend, tmp_path: Path):
    file = backend.create_data_file(write(tmp_path / "a.png", b"one")).file
    collection = backend.create_data_collection("Streets", [IMAGE])
    new = [
        NewDataUnit(
            key=f"unit {number}",
            files={"image": file},
            meta={"number": number, "nested": {"깊이": [1.5, None, True]}},
            groups=("night", "rain"),
        )
        for number in range(200)
    ]

    made = backend.create_data_units(collection.id, new)

    assert [unit.key for unit in made] == [unit.key for unit in new]
    assert [unit.id for unit in made] == sorted(unit.id for unit in made)
    assert [unit.meta for unit in made] == [unit.meta for unit in new]
    assert made[7].files == {"image": file}
    assert made[7].groups == ("night", "rain")
    assert backend.get_data_unit(made[7].id) == made[7]
    assert list(backend.list_data_units({"data_collection": collection.id})) == made


def test_a_repeated_key_makes_no_second_unit(backend: Backend, tmp_path: Path):
    one = backend.create_data_file(write(tmp_path / "a.png", b"one")).file
    two = backend.create_data_file(write(tmp_path / "b.png", b"two")).file
    collection = backend.create_data_collection("Streets", [IMAGE])
    other = backend.create_data_collection("Other streets", [IMAGE])
    (first,) = backend.create_data_units(collection.id, [NewDataUnit(key="k", files={"image": one})])

    again = backend.create_data_units(
        collection.id,
        [
            NewDataUnit(key="new", files={"image": two}),
            NewDataUnit(key="k", files={"image": two}),
            NewDataUnit(key="new", files={"image": one}),
        ],
    )
    elsewhere = backend.create_data_units(other.id, [NewDataUnit(key="k", files={"image": one})])

    assert again[1] == first
    assert again[0] == again[2]
    assert again[0].files == {"image": two}
    assert elsewhere[0].id != first.id
    assert backend.list_data_units({"data_collection": collection.id}).count == 2


def test_units_that_do_not_fit_their_collection_are_refused_with_every_problem(
    backend: Backend, tmp_path: Path
):
    file = backend.create_data_file(write(tmp_path / "a.png", b"one")).file
    collection = backend.create_data_collection("Streets", [IMAGE])
    there = backend.create_storage("There", "local", {"location": str(tmp_path / "there")})
    text = msgspec.structs.replace(file, name="notes.txt")
    away = msgspec.structs.replace(file, storage=there.id)
    outside = msgspec.structs.replace(file, path="../../secret")
    new = [
        NewDataUnit(key="fits", files={"image": file}),
        NewDataUnit(key="lacks", files={}),
        NewDataUnit(key="odd", files={"image": file, "radar": file}),
        NewDataUnit(key="text", files={"image": text}),
        NewDataUnit(key="away", files={"image": away}),
        NewDataUnit(key="outside", files={"image": outside}),
        NewDataUnit(key="", files={"image": file}),
    ]

    with pytest.raises(BackendRejected) as caught:
        backend.create_data_units(collection.id, new)

    problems = caught.value.details["problems"]
    for wanted in (
        "no file 'image'",
        "'radar'",
        "'notes.txt'",
        "storage",
        "'../../secret'",
        "its key is empty",
    ):
        assert any(wanted in problem for problem in problems), (wanted, problems)
    assert not any("'fits'" in problem for problem in problems)
    assert backend.list_data_units().count == 0


def test_units_of_a_collection_that_is_not_there_are_refused(backend: Backend):
    with pytest.raises(RecordNotFound, match="data collection 17"):
        backend.create_data_units(17, [])
    with pytest.raises(RecordNotFound, match="data collection 17"):
        backend.verify_checksums(["0" * 64], data_collection=17)


def test_checksums_are_looked_for_in_one_collection(backend: Backend, tmp_path: Path):
    files = [backend.create_data_file(write(tmp_path / f"{n}.png", f"{n}".encode())).file for n in range(3)]
    collection = backend.create_data_collection("Streets", [IMAGE])
    other = backend.create_data_collection("Other streets", [IMAGE])
    backend.create_data_units(collection.id, [NewDataUnit(key="a", files={"image": files[0]})])
    backend.create_data_units(other.id, [NewDataUnit(key="a", files={"image": files[1]})])
    asked = [file.checksum for file in files] + [f"{n:064x}" for n in range(1500)]

    assert backend.verify_checksums(asked, data_collection=collection.id) == {files[0].checksum}
    assert backend.verify_checksums([], data_collection=collection.id) == set()


def test_units_are_deleted_without_their_files(backend: Backend, tmp_path: Path):
    file = backend.create_data_file(write(tmp_path / "a.png", b"one")).file
    collection = backend.create_data_collection("Streets", [IMAGE])
    made = backend.create_data_units(
        collection.id, [NewDataUnit(key=str(n), files={"image": file}, groups=("g",)) for n in range(3)]
    )

    assert backend.delete_data_units([made[0].id, made[1].id, made[1].id, 10_000]) == 2

    assert list(backend.list_data_units()) == [made[2]]
    assert backend.open_storage().exists(file.path)
    # An id is never given twice: `after` would miss what bears it.
    (fresh,) = backend.create_data_units(collection.id, [NewDataUnit(key="x", files={"image": file})])
    assert fresh.id > made[2].id
    assert backend.delete_data_units([]) == 0


def test_a_file_reference_never_leads_out_of_its_storage(backend: Backend, tmp_path: Path):
    backend.create_data_file(write(tmp_path / "a.png", b"one"))
    (storage,) = backend.list_storages()
    outside = FileReference(
        storage=storage.id, path="../../../etc/passwd", checksum="0" * 64, size_bytes=1, name="passwd"
    )

    with pytest.raises((StorageError, BackendError)):
        backend.download_file(outside, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_collection_is_deleted_only_while_nothing_belongs_to_it(backend: Backend, tmp_path: Path):
    empty = backend.create_data_collection("Empty", [IMAGE])
    used = backend.create_data_collection("Used", [IMAGE])
    backend.create_project("Cars", used.id)
    full = backend.create_data_collection("Full", [IMAGE])
    file = backend.create_data_file(write(tmp_path / "a.png", b"one"))
    backend.create_data_units(full.id, [NewDataUnit(key="a", files={"image": file.file})])

    backend.delete_data_collection(empty.id)

    assert [one.name for one in backend.list_data_collections()] == ["Used", "Full"]
    for collection in (used, full):
        with pytest.raises(BackendRejected, match="nothing was deleted"):
            backend.delete_data_collection(collection.id)
    with pytest.raises(RecordNotFound):
        backend.delete_data_collection(empty.id)
