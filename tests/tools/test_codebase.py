"""Rules of the code base: a place for every concern, and names that match across files."""

import ast
import inspect
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import trimtab as tt
from trimtab import _core

ROOT = Path(__file__).resolve().parents[2]
CPP = ROOT / "cpp"
PACKAGE = ROOT / "python" / "trimtab"

# Compiled for each instruction set without being an operation: no binding and no test has its name.
SHARED_KERNELS = {"convert", "transpose"}
# Bindings without a kernel, and the files that test them.
PLAIN_BINDINGS = {
    "adam": "test_adam.py",
    "batch_norm_parts": "test_batch_norm_parts.py",
    "batch_renorm": "test_batch_renorm.py",
    "fold_batch_norm": "test_fold_batch_norm.py",
    "images": "test_images.py",
    "random": "test_dropout.py",
    "reading": "test_inputs.py",
    "row_norm": "test_layer_norm.py",
    "sgd": "test_sgd.py",
    "system": "test_parallel.py",
}
KERNEL_HEADERS = {"simd.h", "parallel.h", "memory.h", "kernels.h", "cstddef", "cstdint"}
# Symbols that a kernel may import: threads, memory, and those that compilers insert.
KERNEL_IMPORTS = re.compile(
    r"trimtab::(run|num_threads|take_block|give_block|last_cache_bytes)\(.*\)|mem(cpy|set|move)|fmaf?|sqrtf?"
    r"|_GLOBAL_OFFSET_TABLE_"
    r"|_Unwind_Resume|__gxx_personality_v0|__stack_chk_fail"
)
PERSONALITY = "DW.ref.__gxx_personality_v0"  # in every object file with destructors
LONG_FILES = {"python/trimtab/_core.pyi"}  # a list of functions
LINES = 500


def sources(folder=CPP):
    return sorted(path for path in folder.rglob("*") if path.suffix in {".cpp", ".h"})


def stems(folder):
    return {path.stem for path in (CPP / folder).glob("*.cpp")}


def lines_matching(pattern, paths):
    return [
        f"{path.relative_to(ROOT)}:{number}: {line}"
        for path in paths
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if re.search(pattern, line)
    ]


# ---- C++: one file for each concern ----


PLACES = {  # concern: a pattern of its code, and the only files that contain it
    "threads": (r"pthread_create", {"team.cpp"}),
    "OpenMP": (r"\bomp\b|\bomp_", {"openmp.cpp"}),
    "the GIL": (r"PyEval_|PyGILState_", {"gil.cpp"}),
    "vectors": (
        r"immintrin|arm_neon|vector_size|convertvector|\b_mm\d*_|\b__m\d|\bv\w+q_[fsu]\d",
        {"simd.h", "vectors.h", "avx512.h", "avx2.h", "neon.h", "baseline.h"},
    ),
    "the CPU": (r"cpu_supports|cpu_init|cpuid|getauxval", {"dispatch.cpp"}),
    "instruction sets": (r"TRIMTAB_LEVEL\(", {"dispatch.cpp"}),
    "the environment": (r"getenv", {"environment.cpp"}),
}


@pytest.mark.parametrize("concern", PLACES)
def test_each_concern_has_its_place(concern):
    pattern, homes = PLACES[concern]
    assert {path.name for path in sources() if lines_matching(pattern, [path])} == homes


def test_kernels_include_only_their_own_headers():
    own = {path.name for path in (CPP / "kernels").glob("*.h")}
    for path in sources(CPP / "kernels"):
        included = {Path(name).name for name in re.findall(r'#include ["<](.+?)[">]', path.read_text())}
        assert included <= own | KERNEL_HEADERS, path.name


def test_kernels_have_no_conditional_compilation():
    assert not lines_matching(r"^\s*#(?!include |pragma once$)", sources(CPP / "kernels"))


# ---- families ----


def test_every_family_has_kernel_binding_and_test():
    assert stems("kernels") - SHARED_KERNELS == stems("bind") - set(PLAIN_BINDINGS)
    tests = {path.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert {f"test_{family}.py" for family in stems("kernels") - SHARED_KERNELS} <= tests
    assert {PLAIN_BINDINGS[binding] for binding in stems("bind") & set(PLAIN_BINDINGS)} <= tests


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        (CPP / "kernels.h", r"each\(\w+Kernels, (\w+), level\)"),
        (ROOT / "tests" / "isa" / "digest.cpp", r"kernels->(\w+)"),
    ],
)
def test_every_family_is_in_the_tables(path, pattern):
    assert set(re.findall(pattern, path.read_text())) == stems("kernels")


def test_every_binding_is_registered():
    declared = re.findall(r"void bind_(\w+)\(PyObject\* module\);", (CPP / "bind" / "bind.h").read_text())
    called = re.findall(r"bind_(\w+)\(m\.ptr\(\)\);", (CPP / "module.cpp").read_text())
    assert len(set(called)) == len(called)
    assert set(declared) == set(called) <= stems("bind")


def test_docstrings_are_in_a_header_for_each_binding():
    bound = re.findall(r"bind_(\w+)\(m\.ptr\(\)\);", (CPP / "module.cpp").read_text())
    headers = {path.stem for path in (CPP / "bind" / "docs").glob("*.h")}
    assert headers - {"paragraphs"} == set(bound)
    assert not lines_matching(r'R"\(', (CPP / "bind").glob("*.cpp"))


# ---- object files ----


def kernel_objects():
    folder = os.environ.get("TRIMTAB_BUILD_DIR")
    if not folder:
        pytest.skip("TRIMTAB_BUILD_DIR does not name a build directory")
    objects = sorted(Path(folder).glob("CMakeFiles/kernels_*.dir/cpp/kernels/*.o"))
    assert {path.name.split(".")[0] for path in objects} == stems("kernels")
    return objects


def symbols(path, *options):
    command = ["nm", "--demangle", "--extern-only", "--format=posix", *options, str(path)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {re.sub(r" [A-Za-z]( [0-9a-f]+)*\s*$", "", line) for line in output.splitlines()}


def test_kernel_objects_export_their_table_alone():
    """Anything else could be merged with the same code compiled for another instruction set."""
    for path in kernel_objects():
        level = re.search(r"kernels_(\w+)\.dir", str(path))[1]
        table = f"trimtab::{path.name.split('.')[0]}_{level}"
        assert symbols(path, "--defined-only") - {PERSONALITY} == {table}, path


def test_kernel_objects_need_nothing_but_the_seam():
    """The rest of the module, or the table of another family for the same instruction set."""
    for path in kernel_objects():
        level = re.search(r"kernels_(\w+)\.dir", str(path))[1]
        tables = re.compile(rf"trimtab::[a-z_]+_{level}")
        unknown = {name for name in symbols(path, "--undefined-only") if not KERNEL_IMPORTS.fullmatch(name)}
        assert not {name for name in unknown if not tables.fullmatch(name)}, path


# ---- the compiled module and its stub ----

STUB = ast.parse((PACKAGE / "_core.pyi").read_text())
FUNCTIONS = {node.name: node for node in STUB.body if isinstance(node, ast.FunctionDef)}
RESULTS = {node.name: node for node in STUB.body if isinstance(node, ast.ClassDef)}
PRIVATE = {  # called by the Python modules of the package
    *("as_array", "avg_pool", "avg_pool_backward", "build_info", "convolve", "convolve_weights"),
    *("max_pool", "max_pool_backward", "run_empty_tasks", "runs_of", "transpose"),
    *("adam_plan", "adam_step", "plan_grad_norm", "plan_is_valid", "sgd_plan", "sgd_step"),
}
COMPILED = sorted(name for name in FUNCTIONS if name in tt.__all__)


def stub_parameters(function):
    """The name, kind and default of each parameter of a function in the stub."""
    kinds = inspect.Parameter
    arguments = function.args
    positional = arguments.posonlyargs + arguments.args
    required = [inspect.Parameter.empty] * (len(positional) - len(arguments.defaults))
    defaults = required + [ast.literal_eval(node) for node in arguments.defaults]
    found = [
        (argument.arg, kinds.POSITIONAL_OR_KEYWORD, default)
        for argument, default in zip(positional, defaults, strict=True)
    ]
    for argument, node in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        found.append((argument.arg, kinds.KEYWORD_ONLY, ast.literal_eval(node) if node else kinds.empty))
    return found


def test_stub_names_what_the_module_exports():
    exported = {name for name in vars(_core) if not name.startswith("_")}
    assert exported == set(FUNCTIONS) | set(RESULTS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_stub_has_the_signature(name):
    parameters = inspect.signature(getattr(_core, name)).parameters.values()
    assert stub_parameters(FUNCTIONS[name]) == [(p.name, p.kind, p.default) for p in parameters]


@pytest.mark.parametrize("name", RESULTS)
def test_stub_has_the_fields(name):
    fields = tuple(node.target.id for node in RESULTS[name].body if isinstance(node, ast.AnnAssign))
    assert getattr(_core, name)._fields == fields


def documented(docstring, section):
    """The names at the left margin of a numpydoc section."""
    match = re.search(rf"^{section}\n-+\n(.*?)(?=^\S[^\n]*\n-+\n|\Z)", docstring, re.MULTILINE | re.DOTALL)
    lines = re.findall(r"^(\S.*?)(?: : .*)?$", match[1], re.MULTILINE) if match else []
    return [name for line in lines for name in line.split(", ")]


@pytest.mark.parametrize("name", COMPILED)
def test_docstrings_of_compiled_functions_name_parameters_and_results(name):
    """Names every parameter in the order of the signature, and what is returned."""
    docstring = inspect.cleandoc(getattr(tt, name).__doc__)
    parameters = [parameter for parameter, _, _ in stub_parameters(FUNCTIONS[name])]
    assert sorted(documented(docstring, "Parameters")) == sorted(parameters)
    returns_nothing = ast.unparse(FUNCTIONS[name].returns) == "None"
    assert bool(documented(docstring, "Returns")) is not returns_nothing


@pytest.mark.parametrize("name", [name for name in tt.__all__ if inspect.isfunction(getattr(tt, name))])
def test_docstrings_of_python_functions_name_parameters_and_results(name):
    function = getattr(tt, name)
    docstring = inspect.cleandoc(function.__doc__)
    assert documented(docstring, "Parameters") == list(inspect.signature(function).parameters)
    assert documented(docstring, "Returns")


# ---- the package ----


def test_all_is_sorted_complete_and_true():
    assert tt.__all__ == sorted(set(tt.__all__))
    assert all(hasattr(tt, name) for name in tt.__all__)
    assert set(FUNCTIONS) - set(tt.__all__) == PRIVATE
    assert set(dir(tt)) == {*tt.__all__, "__version__"}


def test_import_is_light(run_python):
    """With NumPy imported, the package loads only the kernels; other modules load on first use."""
    code = "import sys, numpy; known = {*sys.modules}; import trimtab; print(*sorted({*sys.modules} - known))"
    ours = ["trimtab", "trimtab._config", "trimtab._core", "trimtab._threadpoolctl"]
    assert run_python(code).split() == ours


@pytest.mark.parametrize("first", ["trimtab.nn", "trimtab.gradients", "trimtab.whitening"])
def test_members_are_found_whichever_module_is_loaded_first(first, run_python):
    code = (
        f"import {first}; print(*map(callable, (trimtab.gradcheck, trimtab.whiten_forward, trimtab.Trainer)))"
    )
    assert run_python(code) == "True True True"


def test_the_version_is_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert project["version"] == tt.__version__ == newest[1]


def test_files_have_at_most_500_lines():
    folders = {"cpp": (".cpp", ".h"), "python": (".py", ".pyi"), "tests": (".py", ".cpp"), "bench": (".py",)}
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for folder, suffixes in folders.items()
        for path in (ROOT / folder).rglob("*")
        if path.suffix in suffixes
    }
    assert {path for path, lines in lengths.items() if lines > LINES} <= LONG_FILES


# ---- the README ----

README = (ROOT / "README.md").read_text()


def code_blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_readme_starts_with_the_two_commands():
    first_block = re.search(r"^```\w+\n(.*?)^```", README, re.MULTILINE | re.DOTALL)[1]
    assert first_block == 'pip install ".[demo]" && trimtab demo\npip install ".[test]" && pytest\n'


@pytest.mark.parametrize("code", code_blocks("python"))
def test_readme_code_runs(code, tmp_path):
    """The comment after a print call is its output."""
    script = tmp_path / "readme.py"
    script.write_text(code)
    command = [sys.executable, "-W", "error", str(script)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
    promised = re.findall(r"^print\(.*\)  # (.*)$", code, re.MULTILINE)
    assert promised == [line for line in printed if line]


def test_overview_names_every_operation():
    overview = (ROOT / "docs" / "overview.md").read_text()
    assert set(COMPILED) <= set(re.findall(r"`(\w+)`", overview))


def test_readme_names_functions_that_exist():
    assert not [name for name in re.findall(r"tt\.(\w+)", README) if not hasattr(tt, name)]
