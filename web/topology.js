/* topology.js - the cards, the host and the ways between them as a picture. */

import {h} from "./dom.js";
import {bytes, rate, shortName} from "./units.js";
import {gpuColour} from "./parts.js";

const KIND = {nvlink: "NVLink", pix: "one PCIe switch", pxb: "PCIe switches", phb: "host bridge", node: "same NUMA node", sys: "between sockets"};

export function topology(machine) {
  const gpus = machine?.gpus || [], links = machine?.links || [];
  const gap = 150, width = Math.max(340, gpus.length * gap + 20), top = links.length > 1 ? 96 : 70;
  const start = (width - (gpus.length - 1) * gap) / 2;
  const x = (i) => start + i * gap;
  const hostY = top + 118;
  const said = links.map((l) => `GPU ${l.between[0]} and ${l.between[1]}: ${KIND[l.kind] || l.kind || "link unknown"}${l.p2p === true ? ", peer to peer" : l.p2p === false ? ", no peer to peer" : ""}`);
  return h("svg", {class: "topology", viewBox: `0 0 ${width} ${hostY + 44}`, role: "img", "aria-label": `Topology. ${said.join("; ")}`},
    links.map((link) => {
      const [a, b] = link.between, far = Math.abs(b - a);
      const lift = 26 + (far - 1) * 22, middle = (x(a) + x(b)) / 2;
      return h("g", {key: `${a}-${b}`, class: `link ${link.p2p ? "p2p" : "no-p2p"} ${link.kind}`},
        h("path", {d: `M${x(a)},${top} C${x(a)},${top - lift} ${x(b)},${top - lift} ${x(b)},${top}`,
          "stroke-width": link.kind === "nvlink" ? 5 : link.p2p ? 3 : 2}),
        h("text", {x: middle, y: top - lift * 0.75 - 7, "text-anchor": "middle"},
          `${KIND[link.kind] || "link"}${link.bandwidth_bytes_per_s ? ` · ${rate(link.bandwidth_bytes_per_s)}` : ""}`));
    }),
    gpus.map((gpu, i) => {
      const pcie = gpu.pcie_gen ? `PCIe ${gpu.pcie_gen} ×${gpu.pcie_width}` : "link unknown";
      const slow = gpu.pcie_width_max && (gpu.pcie_width < gpu.pcie_width_max);
      return h("g", {key: `gpu${gpu.index}`, style: {"--line": `var(${gpuColour(gpu.index)})`}},
        h("path", {class: "lane", d: `M${x(i)},${top + 52} V${hostY}`, "stroke-width": Math.max(1.5, (gpu.pcie_width || 4) / 3)}),
        h("text", {class: slow ? "slow" : "", x: x(i) + 9, y: top + 84}, pcie),
        h("rect", {class: "chip", x: x(i) - 62, y: top, width: 124, height: 52, rx: 9}),
        h("text", {class: "chip-name", x: x(i), y: top + 21, "text-anchor": "middle"}, shortName(gpu.name).slice(0, 18)),
        h("text", {x: x(i), y: top + 39, "text-anchor": "middle"}, `GPU ${gpu.index} · ${bytes(gpu.total_bytes, 0)}`));
    }),
    h("rect", {class: "host", x: 14, y: hostY, width: width - 28, height: 34, rx: 9}),
    h("text", {x: width / 2, y: hostY + 21, "text-anchor": "middle"},
      `host${machine?.host?.core_count ? ` · ${machine.host.core_count} cores` : ""}${machine?.host?.free_bytes ? ` · ${bytes(machine.host.free_bytes, 0)} of ${bytes(machine.host.total_bytes, 0)} free` : ""}`));
}
