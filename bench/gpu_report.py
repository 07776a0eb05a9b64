"""The report of scripts/gpu-check as Markdown."""

import statistics


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
