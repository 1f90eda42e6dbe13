"""What works with no plugin at all, hence with no backend: names, files, symbols; and what is said where that ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[1] / "compat" / "data"
LOADED = "sys.modules.keys() & {'mxcore_numpy', 'mxcore.gluon', 'scipy', 'cupy', 'pyopencl'}"


def run(program: str, **settings: str) -> str:
    """What a program prints, in a process without plugins, where warnings are errors."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", "import sys\nimport mxcore as mx\n" + program],
                          capture_output=True,
                          text=True, timeout=120, env={**os.environ, "MXCORE_PLUGINS": "", **settings})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import():
    light = json.loads(run(f"import json; print(json.dumps([sorted({LOADED}), 'pluggy' in sys.modules, "
                           "'mxcore.registry' in sys.modules]))"))
    assert light == [[], False, False]


def test_pure_values():
    assert run("print(mx.cpu(1), mx.gpu(), mx.current_context(), mx.num_gpus(), mx.Context('cpu') == mx.cpu(0))") == \
        "cpu(1) gpu(0) cpu(0) 0 True\n"


def test_params_are_read_and_written(tmp_path):
    out = run(f"""
from mxcore.files import params
read = params.read({str(DATA / "params" / "lenet.params")!r})
print(type(read).__name__, len(read), {LOADED})
""")
    assert out.endswith("set()\n") and not out.startswith("list 0")


def test_symbols_are_built_inferred_and_written(tmp_path):
    out = run(f"""
data = mx.sym.var("data")
net = mx.sym.Activation(mx.sym.FullyConnected(data, num_hidden=3, name="f"), act_type="relu")
net = mx.sym.SoftmaxOutput(mx.sym.BatchNorm(net, name="b"), name="out")
print(net.list_arguments(), net.list_auxiliary_states())
print(net.infer_shape(data=(2, 5))[1], net.infer_type(data="float16")[1])
net.save({str(tmp_path / "n-symbol.json")!r})
again = mx.sym.load({str(tmp_path / "n-symbol.json")!r})
assert again.tojson() == net.tojson()
print(net.get_internals()["f_output"].gradient("data").infer_shape(data=(2, 5))[1], {LOADED})
""")
    assert out.splitlines() == [
        "['data', 'f_weight', 'f_bias', 'b_gamma', 'b_beta', 'out_label'] ['b_moving_mean', 'b_moving_var']",
        "[(2, 3)] [<class 'numpy.float16'>]", "[(2, 5)] set()"]


def test_a_symbol_of_mxnet_is_read():
    out = run(f"""
s = mx.sym.load({str(DATA / "golden" / "mlp-symbol.json")!r})
print(s.list_arguments()[:2], s.infer_shape(data=(5, 10))[1], {LOADED})
""")
    assert out == "['data', 'mlp_dense0_weight'] [(5, 4)] set()\n"


def test_gluon_blocks_are_described():
    out = run("""
net = mx.gluon.nn.HybridSequential(prefix="net_")
with net.name_scope():
    net.add(mx.gluon.nn.Conv2D(4, 3, in_channels=1), mx.gluon.nn.Dense(2))
print(list(net.collect_params()), net(mx.sym.var("x")).infer_shape(x=(1, 1, 5, 5))[1])
""")
    assert out == "['net_conv0_weight', 'net_conv0_bias', 'net_dense0_weight', 'net_dense0_bias'] [(1, 2)]\n"


@pytest.mark.parametrize("call", ["mx.nd.ones(2)", "mx.nd.array([1])", "mx.nd.random.uniform(shape=(2,))", "mx.nd.arange(3)",
                                  "mx.sym.exp(mx.sym.var('x')).simple_bind(mx.cpu(), x=(2,))", "mx.cpu().empty_cache()"])
def test_arrays_say_what_is_missing(call):
    out = run(f"""
try:
    {call}
except mx.MXNetError as error:
    print(type(error).__name__, error)
""")
    assert out.splitlines() == [
        "BackendMissingError no backend serves the device kind 'cpu'; installed kinds: none.",
        "To have it: pip install mxcore-numpy",
        "MXCORE_PLUGINS= lets no other plugins load than those it names."]


def test_gpu_says_what_is_missing():
    program = """
for call in (lambda: mx.nd.ones(2, ctx=mx.gpu(1)), lambda: mx.gpu_memory_info(0)):
    try:
        call()
    except mx.MXNetError as error:
        print(error)
print(mx.num_gpus())
"""
    lines = run(program, MXCORE_PLUGINS="numpy").splitlines()
    assert lines[0] == lines[3] == "no backend serves the device kind 'gpu'; installed kinds: cpu, numpy."
    assert lines[1] == ("To have it: pip install mxcore[cuda13]   (NVIDIA; or cuda12), or: pip install mxcore[opencl]   (AMD, Intel)")
    assert lines[-1] == "0"


def test_files_of_arrays_need_a_backend_only_as_arrays():
    out = run(f"""
try:
    mx.nd.load({str(DATA / "params" / "lenet.params")!r})
except mx.MXNetError as error:
    print(str(error).splitlines()[0])
""")
    assert out == "no backend serves the device kind 'cpu'; installed kinds: none.\n"


def test_what_there_is():
    assert run("f = mx.runtime.Features(); print(f.is_enabled('CPU'), f.is_enabled('INT64_TENSOR_SIZE'))") == "False True\n"
    assert run("f = mx.runtime.Features(); print(f.is_enabled('CPU'))", MXCORE_PLUGINS="numpy") == "True\n"
    assert run("mx.nd.waitall(); mx.random.seed(1); print('fine')") == "fine\n"


def test_a_device_kind_that_nobody_serves_says_what_to_install():
    assert "pip install mxcore[opencl]" in run("try:\n    mx.opencl(0)\nexcept AttributeError as e:\n    print(e)")
