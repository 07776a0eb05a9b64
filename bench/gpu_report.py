"""What scripts/gpu-check finds: compared, and as Markdown."""

import math
import statistics

# Of an array's largest value: by how much a kernel's result may differ between
# a GPU and the emulator.
BOUNDS = {"f32": 1e-5, "f16": 2e-3, "bf16": 2e-2}


def compare_dumps(emulator, gpu):
    """For each array of kernel_dump's: the largest difference, and in how many
    of its elements there is one. The two must name the same."""
    arrays = [{name: [float.fromhex(v) for v in values] for name, *values in
               map(str.split, text.splitlines())} for text in (emulator, gpu)]
    if list(arrays[0]) != list(arrays[1]):
        raise ValueError("the dumps name different arrays")
    results = []
    for name, wanted in arrays[0].items():
        got = arrays[1][name]
        size = max(map(abs, wanted))
        gaps = [abs(a - b) for a, b in zip(wanted, got)]
        same = len(got) == len(wanted) and not any(map(math.isnan, gaps))
        results.append({
            "name": name, "elements": len(wanted),
            "different": sum(gap > 0 for gap in gaps),
            "difference": max(gaps) / size if same else math.inf,
            "bound": BOUNDS[name.split(".")[1]]})
    return results


def ring_rows(results):
    for r in results:
        if "why_not" in r:
            yield f"| {r['ranks']} | | not run: {r['why_not']} | | | |"
            continue
        for note in r["report"]["notes"]:
            yield f"| {r['ranks']} | | {note} | | | |"
        for row in r["report"]["results"]:
            in_place = row["in_place"]
            yield (f"| {r['ranks']} | {row['size']:,} | {row['backend']} | "
                   f"{in_place['time']:,.1f} | {in_place['bus_bw']:.2f} | "
                   f"{in_place['nwrong']:g} |")


def markdown(report):
    lines = [f"# GPU check of {report['commit']}", "",
             f"{report['date']}, {report['host']}; made by "
             "`scripts/gpu-check`.", ""]
    parts = report["parts"]
    if "kernels" in parts and isinstance(parts["kernels"]["result"], list):
        lines += [f"GPU: {parts['kernels']['result'][0]['device']}.", ""]
    lines += ["| part | passed | seconds |", "|---|---|---|"]
    lines += [f"| {name} | {'yes' if part['passed'] else 'NO'} | "
              f"{part['seconds']:.0f} |" for name, part in parts.items()]
    result = {name: part["result"] for name, part in parts.items()
              if part["result"]}
    if isinstance(result.get("emulator"), list):
        lines += ["", "| kernel's result | elements | not equal to the "
                  "emulator's | largest difference | bound |",
                  "|---|---|---|---|---|"]
        lines += [f"| {r['name']} | {r['elements']} | {r['different']} | "
                  f"{r['difference']:.2g} | {r['bound']:g} |"
                  for r in result["emulator"]]
    if isinstance(result.get("ring"), list):
        lines += ["", "| ranks | bytes | back end | us, in place | busbw, GB/s "
                  "| wrong |", "|---|---|---|---|---|---|"]
        lines += ring_rows(result["ring"])
    if isinstance(result.get("speed"), list):
        lines += ["", "| batch | precision | CUDA graph | images/s |",
                  "|---|---|---|---|"]
        lines += [f"| {r['batch_size']} | {r['precision']} | {r['graph']} | "
                  f"{r['images_per_second']:,.0f} |" for r in result["speed"]]
    if isinstance(result.get("peers"), list):
        lines += ["", "| PyTorch | batch | Ringlet, images/s | PyTorch, "
                  "images/s | ratio |", "|---|---|---|---|---|"]
        for r in result["peers"]:
            theirs = (f"{statistics.median(r['pytorch']):,.0f}"
                      if r["pytorch"] else "did not run")
            lines.append(
                f"| {r['mode']} | {r['batch_size']} | "
                f"{statistics.median(r['ringlet']):,.0f} | {theirs} | "
                f"{r.get('ratio', float('nan')):.2f} |")
    for r in result.get("kernels", []):
        lines += ["", f"{r['model']}, batch {r['batch_size']}, "
                  f"{r['precision']}: copy "
                  f"{r['copy_bytes_per_second'] / 1e9:,.0f} GB/s, "
                  f"{r['flop_limit']} "
                  f"{r['flop_per_second'] / 1e12:,.1f} TFLOP/s", "",
                  "| kernel | us per step | TFLOP/s | GB/s | of the limit |",
                  "|---|---|---|---|---|"]
        lines += [
            f"| {k['name']} | {k['seconds'] * 1e6:,.0f} | "
            f"{k['flop'] / k['seconds'] / 1e12:,.1f} | "
            f"{k['bytes'] / k['seconds'] / 1e9:,.0f} | "
            f"{k['limit_seconds'] / k['seconds']:.0%} |" for k in r["kernels"]]
    if "accuracy" in result.get("recipe", {}):
        r = result["recipe"]
        lines += ["", f"`ringlet train {' '.join(r['arguments'])}`: "
                  f"{r['seconds']:.1f} s in all, {r['seconds_of_steps']:.1f} s "
                  f"of them training steps; top-1 accuracy "
                  f"{r['accuracy']:.2%}."]
    if "gap_of_gpu" in result.get("curve", {}):
        r = result["curve"]
        lines += ["", f"{r['steps']} steps of ResNet-20 in f32: the GPU's "
                  f"losses are within {r['gap_of_gpu']:.2g} of the CPU's "
                  f"(bound {r['bound']:.2g}; the CPU's own two ways differ by "
                  f"{r['gap_of_cpu']:.2g})."]
    return "\n".join(lines) + "\n"
