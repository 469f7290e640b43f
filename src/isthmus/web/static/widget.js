// src/api.ts
var e = class extends Error {
	status;
	constructor(e, t) {
		super(t), this.status = e;
	}
}, t = class extends Error {}, n = class {
	wire;
	key = a("isthmus-key") ?? "";
	isThere = !0;
	listeners = [];
	askKey = () => Promise.resolve("");
	constructor(e) {
		this.wire = e;
	}
	onChange(e) {
		this.listeners.push(e);
	}
	facts = () => this.json("explore");
	row = (e) => this.json(`explore/rows/${e}`);
	health = () => this.json("explore/health");
	legend = (e) => this.json("explore/colours", { name: e });
	decode = (e) => this.json("explore/decode", { codes: [Array.from(e)] });
	place = (e, t) => this.json("explore/place", {
		point: e,
		row: t
	});
	sample = (e, t) => this.json("explore/sample", {
		n: e,
		seed: t
	});
	odd = () => this.json("explore/odd", { threshold: null });
	flagged = (e) => this.json("explore/odd", { threshold: e });
	near = (e, t) => this.json("explore/neighbours", {
		row: e,
		codes: null,
		k: t
	});
	nearCode = (e, t) => this.json("explore/neighbours", {
		row: null,
		codes: [Array.from(e)],
		k: t
	});
	walk = (e, t, n, r) => this.json("explore/walk", {
		start: e,
		end: t,
		steps: n,
		path: r
	});
	async kept(e) {
		let { bytes: t, name: n } = await this.ask("explore/kept", JSON.stringify({ kept: e }));
		return {
			blob: new Blob([t]),
			name: n ?? "samples"
		};
	}
	async search(e, t) {
		return r(await this.ask(`explore/search?name=${encodeURIComponent(e.name)}&k=${t}`, e));
	}
	async points() {
		let e = new Float32Array((await this.ask("explore/points")).bytes);
		return {
			x: e.subarray(0, e.length / 2),
			y: e.subarray(e.length / 2)
		};
	}
	async values(e) {
		return new Float64Array((await this.ask("explore/values", JSON.stringify({ name: e }))).bytes);
	}
	async json(e, t) {
		return r(await this.ask(e, t && JSON.stringify(t)));
	}
	async ask(t, n) {
		for (let r = 0;; r++) {
			let a = await this.sent(t, n);
			if (a.status < 400) return a;
			if (a.status !== 401) throw new e(a.status, i(a));
			this.key = await this.askKey(r > 0 || this.key !== ""), o("isthmus-key", this.key);
		}
	}
	async sent(e, n) {
		try {
			let t = await this.wire.send(e, this.key, n);
			return this.say(!0), t;
		} catch {
			throw this.say(!1), new t("The server does not answer.");
		}
	}
	say(e) {
		if (e !== this.isThere) {
			this.isThere = e;
			for (let t of this.listeners) t(e);
			e || this.waitForIt();
		}
	}
	async waitForIt() {
		for (; !this.isThere;) await new Promise((e) => setTimeout(e, 1e3)), await this.wire.isThere().catch(() => !1) && this.say(!0);
	}
};
function r({ bytes: e }) {
	return JSON.parse(new TextDecoder().decode(e));
}
function i(e) {
	try {
		return r(e).error;
	} catch {
		return `the server answered ${e.status}.`;
	}
}
function a(e) {
	try {
		return sessionStorage.getItem(e);
	} catch {
		return null;
	}
}
function o(e, t) {
	try {
		sessionStorage.setItem(e, t);
	} catch {}
}
// src/dom.ts
function s(e, t = {}, ...n) {
	let r = document.createElement(e);
	for (let [e, n] of Object.entries(t)) n != null && n !== !1 && (e.startsWith("on") ? r.addEventListener(e.slice(2), n) : e === "class" || e === "role" || e === "for" || e.includes("-") ? r.setAttribute(e, n === !0 ? "" : String(n)) : r[e] = n);
	return r.append(...n.filter((e) => e !== null && e !== !1 && e !== void 0)), r;
}
var c = "http://www.w3.org/2000/svg";
function l(e, t, ...n) {
	let r = document.createElementNS(c, e);
	for (let [e, n] of Object.entries(t)) r.setAttribute(e, String(n));
	return r.append(...n), r;
}
function u(e) {
	let t = !1, n = null;
	return (r) => {
		n = { value: r }, t || (t = !0, (async () => {
			for (; n;) {
				let { value: t } = n;
				n = null, await e(t);
			}
			t = !1;
		})());
	};
}
function d(e, t) {
	let n = s("a", {
		href: URL.createObjectURL(e),
		download: t
	});
	n.click(), setTimeout(() => URL.revokeObjectURL(n.href), 1e4);
}
function f(e, t, n, r) {
	let i = t.map(([e, t, r]) => s("button", {
		type: "button",
		"data-value": e,
		"aria-pressed": String(e === n),
		"aria-label": r && t,
		title: r && t,
		onclick: () => a(e)
	}, r ?? t)), a = (e) => {
		for (let t of i) t.setAttribute("aria-pressed", String(t.dataset.value === e));
		r(e);
	};
	return s("div", {
		class: "choice",
		role: "group",
		"aria-label": e
	}, ...i);
}
// src/desk.ts
function p(e, n) {
	if (n instanceof t) return;
	let r = n instanceof Error ? n.message : String(n);
	e.replaceChildren(s("p", {
		class: "refusal",
		role: "alert"
	}, r.charAt(0).toUpperCase() + r.slice(1)));
}
function m(e, t, n) {
	return s("div", { class: "figure" }, s("dt", {}, e), s("dd", {
		"data-figure": e,
		"data-value": t === null ? "" : String(t)
	}, n));
}
// src/dialogs.ts
var ee = [
	["click", "pick a row"],
	["Shift and click", "pick where a walk ends"],
	["J, K", "the next row, the one before"],
	["arrows", "move the map, or the probe when it has the focus"],
	["+, −, 0", "zoom in, zoom out, show all"],
	["Alt and drag", "draw around rows, with any tool"],
	["Tab", "from the map to the panels and back"]
];
function h(e) {
	let t = s("dialog", {
		"aria-labelledby": "isthmus-keys",
		onclose: () => t.remove()
	}, s("h2", { id: "isthmus-keys" }, "On the map"), s("dl", { class: "keys" }, ...ee.flatMap(([e, t]) => [s("dt", {}, e), s("dd", {}, t)])), s("div", { class: "row" }, s("button", {
		type: "button",
		class: "main",
		onclick: () => t.close()
	}, "Close")));
	e.append(t), t.showModal();
}
function g(e, t) {
	return new Promise((n) => {
		let r = s("input", {
			type: "password",
			autocomplete: "off",
			"aria-label": "Key",
			required: !0
		}), i = s("dialog", {
			"aria-labelledby": "isthmus-key",
			oncancel: (e) => e.preventDefault()
		}, s("form", { onsubmit: (e) => {
			e.preventDefault(), r.value && (i.close(), i.remove(), n(r.value));
		} }, s("h2", { id: "isthmus-key" }, "This page asks for a key"), s("p", { class: "aside" }, t ? "That was not it. Who opened the page has it." : "Who opened the page has it."), s("div", { class: "row" }, r, s("button", {
			type: "submit",
			class: "main"
		}, "Enter"))));
		e.append(i), i.showModal();
	});
}
// src/format.ts
function _(e) {
	if (e == null || Number.isNaN(e)) return "–";
	if (!Number.isFinite(e)) return e > 0 ? "∞" : "−∞";
	if (e === 0) return "0";
	let t = Math.abs(e);
	return t >= 1e4 && t < 0x38d7ea4c68000 ? v(Math.round(e)) : t < 1e-4 || t >= 0x38d7ea4c68000 ? e.toExponential(2).replace("-", "−").replace("e−", "e-") : String(Number(e.toPrecision(4))).replace("-", "−");
}
function v(e) {
	return String(e).replace(/\B(?=(\d{3})+(?!\d))/g, ",").replace("-", "−");
}
function y(e) {
	return e == null ? "–" : e === 0 || e === 1 ? `${100 * e}%` : `${(100 * e).toFixed(Math.abs(e) >= .995 || Math.abs(e) < .001 ? 2 : 1)}%`;
}
function b(e) {
	return e == null ? "gap" : typeof e == "number" ? Number.isInteger(e) ? String(e).replace("-", "−") : _(e) : typeof e == "boolean" ? e ? "yes" : "no" : e.length > 40 ? `${e.slice(0, 39)}…` : e;
}
function x(e, t) {
	return `${v(e)} ${t}${e === 1 ? "" : "s"}`;
}
// src/preview.ts
function S(e, t, n) {
	return e.image ? te(e.image, t) : e.curve ? D(e.curve, t, n?.curve) : re(e.cells ?? [], t);
}
function C(e, t, n, r) {
	let i = e.firstElementChild;
	t.image && i instanceof HTMLCanvasElement ? w(i, t.image) : e.replaceChildren(S(t, n, r));
}
function te(e, t) {
	let n = s("canvas", {
		class: "picture",
		role: "img",
		"aria-label": t
	});
	return w(n, e), n;
}
function w(e, t) {
	let { width: n, height: r, channels: i } = t, a = atob(t.pixels), o = new ImageData(n, r);
	for (let e = 0; e < n * r; e++) {
		for (let t = 0; t < 3; t++) o.data[4 * e + t] = a.charCodeAt(i === 1 ? e : i * e + t);
		o.data[4 * e + 3] = 255;
	}
	e.width = n, e.height = r, e.getContext("2d")?.putImageData(o, 0, 0);
}
var [T, E] = [200, 90];
function D(e, t, n) {
	let r = [...e, ...n ?? []].flat().filter((e) => e !== null), i = Math.min(...r), a = Math.max(...r), o = [...(n ?? []).map((e) => [e, "pale"]), ...e.map((e) => [e, ""])], c = l("svg", {
		viewBox: `0 0 ${T} ${E}`,
		class: "curve",
		role: "img",
		"aria-label": t,
		preserveAspectRatio: "none"
	});
	o.forEach(([t, r], o) => {
		let s = n ? o % e.length : o;
		c.append(l("path", {
			d: ne(t, i, a),
			class: `line c${s % 4} ${r}`
		}));
	});
	let u = s("div", {
		class: "curve-holder",
		title: `${b(i)} to ${b(a)}`
	});
	return u.append(c), u;
}
function ne(e, t, n) {
	let r = T / Math.max(1, e.length - 1), i = (E - 6) / (n - t || 1), a = !1;
	return e.map((e, n) => {
		if (e === null) return a = !1, "";
		let o = `${a ? "L" : "M"}${(n * r).toFixed(1)} ${(E - 3 - (e - t) * i).toFixed(1)}`;
		return a = !0, o;
	}).join("");
}
function re(e, t) {
	let n = e.map(([e, t]) => s("tr", {}, s("th", { scope: "row" }, e), s("td", { class: t === null ? "gap" : "" }, b(t))));
	return s("table", {
		class: "cells",
		"aria-label": t
	}, s("tbody", {}, ...n));
}
// src/panels/look.ts
var O = 40, k = class {
	desk;
	id = "look";
	title = "Look";
	element;
	code;
	live = null;
	heading = s("h2", {}, "");
	hint = s("p", { class: "aside" });
	figures = s("dl", { class: "figures" });
	frames = s("div", { class: "frames" });
	original = s("div", {
		class: "frame",
		"data-frame": "original"
	});
	rebuilt = s("div", {
		class: "frame",
		"data-frame": "rebuilt"
	});
	decoded = s("div", {
		class: "frame",
		"data-frame": "decoded"
	});
	comparison = s("div", { class: "scroll" });
	actions = s("div", { class: "actions" });
	trouble = s("div", {});
	sliders = [];
	outputs = [];
	constructor(e, t) {
		this.desk = e;
		let { facts: n } = e;
		this.code = [...n.mean], this.heading.textContent = "The mean of all codes", this.hint.textContent = "Point at the map to see a row beside its reconstruction, click to pick one. Drag the ring, or a slider: the decoder draws what stands there.";
		for (let [e, n] of t) this.actions.append(s("button", {
			type: "button",
			disabled: !0,
			onclick: n
		}, e));
		this.element = s("div", {}, this.heading, this.hint, this.figures, this.frames, this.comparison, this.actions, this.trouble, s("h3", {}, n.code_size > n.sliders.length ? `The ${n.sliders.length} numbers of the code that vary most` : "The code"), s("div", { class: "sliders" }, ...n.sliders.map((e) => this.slider(e))), s("button", {
			type: "button",
			class: "quiet",
			onclick: () => this.reset()
		}, "Back to where it was")), this.layFrames(null), this.ask({ code: this.code });
	}
	picked(e) {
		this.code = [...e.code], this.live = null, this.heading.textContent = e.name, this.hint.hidden = !0;
		for (let e of this.actions.querySelectorAll("button")) e.disabled = !1;
		this.figures.replaceChildren(...e.error === null ? [] : [m("reconstruction error", e.error, _(e.error))], ...e.known.map(([e, t]) => s("div", { class: "figure" }, s("dt", {}, e), s("dd", {}, b(t))))), this.layFrames(e), this.moveSliders(), this.desk.map.marks.probe = e.point, this.desk.map.redraw(), this.trouble.replaceChildren();
	}
	probed(e) {
		this.ask({ point: e });
	}
	back() {
		this.ask({ code: this.code });
	}
	ask = u(async (e) => {
		try {
			let { api: t, picked: n } = this.desk, r = "point" in e, i = await (r ? t.place(e.point, n?.row ?? null) : t.decode(e.code));
			this.took(i, r);
		} catch (e) {
			p(this.trouble, e);
		}
	});
	took(e, t) {
		let [n, r, i] = [
			e.shown[0],
			e.codes[0],
			e.points[0]
		];
		n && r && i && (this.live = n, t ? (this.code = r, this.moveSliders()) : (this.desk.map.marks.probe = i, this.desk.map.redraw()), this.decoded.hidden = !1, this.showLive());
	}
	slider(e) {
		let { facts: t } = this.desk, [n, r] = [t.low[e] ?? -1, t.high[e] ?? 1], i = s("output", {}, _(this.code[e])), a = s("input", {
			type: "range",
			"aria-label": `code ${e + 1}`,
			"data-dim": e,
			min: String(n),
			max: String(r),
			step: String((r - n) / 400),
			oninput: () => {
				this.code[e] = Number(a.value), i.textContent = _(this.code[e]), this.ask({ code: [...this.code] });
			}
		});
		return a.value = String(this.code[e]), this.sliders.push(a), this.outputs.push(i), s("label", { class: "slider" }, s("span", {}, `code ${e + 1}`), a, i);
	}
	moveSliders() {
		this.sliders.forEach((e, t) => {
			let n = this.code[this.desk.facts.sliders[t]];
			e.value = String(n), this.outputs[t].textContent = _(n);
		});
	}
	reset() {
		let { picked: e } = this.desk;
		e ? this.picked(e) : (this.code = [...this.desk.facts.mean], this.moveSliders(), this.ask({ code: this.code }));
	}
	layFrames(e) {
		let t = !(e?.rebuilt.cells ?? this.desk.facts.kind === "table");
		if (this.frames.replaceChildren(), this.comparison.replaceChildren(), !t) {
			this.showLive();
			return;
		}
		let n = (e, t) => s("figure", {}, e, s("figcaption", {}, t));
		e?.original && (C(this.original, e.original, `${e.name}, original`), this.frames.append(n(this.original, "original"))), e && (C(this.rebuilt, e.rebuilt, `${e.name}, reconstruction`, e.original), this.frames.append(n(this.rebuilt, "reconstruction"))), this.frames.append(n(this.decoded, "decoded here")), C(this.decoded, e ? e.rebuilt : { cells: [] }, "decoded", e?.original), e?.cells.length && this.comparison.replaceChildren(j(e, 6));
	}
	showLive() {
		let { picked: e } = this.desk;
		this.live && !this.live.cells ? C(this.decoded, this.live, "decoded", e?.original) : (this.live?.cells || e?.rebuilt.cells) && this.comparison.replaceChildren(A(e, this.live));
	}
};
function A(e, t) {
	let n = new Map(t?.cells ?? e?.rebuilt.cells ?? []), r = new Map((e?.cells ?? []).map((e) => [e.name, e])), i = new Map(e?.original?.cells ?? []), a = new Map(e?.rebuilt.cells ?? []), o = [.../* @__PURE__ */ new Set([...r.keys(), ...n.keys()])].slice(0, O), c = [
		"",
		...e?.original ? ["original"] : [],
		...e ? ["rebuilt"] : [],
		"decoded here"
	], l = o.map((t) => {
		let [r, o, c] = [
			i.get(t),
			a.get(t),
			n.get(t)
		];
		return s("tr", { class: e?.original && b(r) !== b(o) ? "differs" : "" }, s("th", {
			scope: "row",
			title: t
		}, t), e?.original ? s("td", { class: r === null ? "gap" : "" }, b(r)) : null, e ? s("td", { class: "now" }, b(o)) : null, s("td", { class: "here" }, b(c)));
	});
	return s("table", { class: "cells compared" }, s("thead", {}, s("tr", {}, ...c.map((e) => s("th", { scope: "col" }, e)))), s("tbody", {}, ...l));
}
function j(e, t) {
	return s("table", { class: "cells" }, s("tbody", {}, ...e.cells.slice(0, t).map((e) => s("tr", {}, s("th", { scope: "row" }, e.name), s("td", { class: e.observed === null ? "gap" : "" }, b(e.observed)), s("td", { class: "now" }, `→ ${b(e.reconstructed)}`), s("td", { class: "share" }, y(e.share))))));
}
// src/hover.ts
var ie = 300, ae = class {
	desk;
	said;
	element = s("div", {
		class: "hover",
		hidden: !0
	});
	rows = /* @__PURE__ */ new Map();
	wanted = -1;
	at = [0, 0];
	constructor(e, t) {
		this.desk = e, this.said = t;
	}
	point(e, t) {
		this.at = t, e === this.wanted ? e >= 0 && this.lay() : (this.wanted = e, this.element.hidden = !0, e >= 0 && this.ask(e));
	}
	ask = u(async (e) => {
		try {
			let t = this.rows.get(e) ?? await this.desk.api.row(e);
			this.rows.size >= ie && this.rows.clear(), this.rows.set(e, t), e === this.wanted && this.show(t);
		} catch {
			this.element.hidden = !0;
		}
	});
	show(e) {
		let t = !e.rebuilt.cells, n = (e, t) => s("figure", {}, s("div", { class: "frame" }, e), s("figcaption", {}, t)), r = s("div", { class: "frames" }, e.original && t ? n(S(e.original, "original"), "original") : null, t ? n(S(e.rebuilt, "reconstruction", e.original), "reconstruction") : null);
		this.element.replaceChildren(s("p", { class: "name" }, s("b", {}, e.name), ` ${this.said(e.row)}`), t ? r : e.cells.length ? j(e, 5) : S(e.rebuilt, "decoded"), e.error === null ? "" : s("p", { class: "aside" }, `reconstruction error ${_(e.error)}`)), this.element.hidden = !1, this.lay();
	}
	lay() {
		let { offsetWidth: e, offsetHeight: t } = this.element, n = this.desk.map.element.getBoundingClientRect(), r = this.at[0] + 18 + e > n.width ? this.at[0] - 18 - e : this.at[0] + 18, i = Math.max(6, Math.min(this.at[1] - t / 2, n.height - t - 6));
		this.element.style.transform = `translate(${Math.max(6, r)}px, ${i}px)`;
	}
}, oe = {
	pan: "M12 3v18M3 12h18M12 3l-2.5 2.5M12 3l2.5 2.5M12 21l-2.5-2.5M12 21l2.5-2.5M3 12l2.5-2.5M3 12l2.5 2.5M21 12l-2.5-2.5M21 12l-2.5 2.5",
	lasso: "M12 4c5 0 9 2.4 9 5.5S17 15 12 15 3 12.6 3 9.5 7 4 12 4zM7 14.3c-1.6.8-1.6 3 .2 3.3 1.8.3 2.4 1.8 1.3 3.4",
	decode: "M12 7a5 5 0 1 0 0 10 5 5 0 0 0 0-10zM12 2v5M12 17v5M2 12h5M17 12h5",
	plus: "M12 5v14M5 12h14",
	minus: "M5 12h14",
	fit: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
	theme: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zm0 2v14a7 7 0 0 1 0-14z",
	help: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM9.6 9.6a2.4 2.4 0 1 1 3.5 2.2c-.7.4-1.1.9-1.1 1.6v.3M12 16.6v.1"
};
function M(e) {
	let t = l("path", {
		d: oe[e],
		fill: e === "theme" ? "currentColor" : "none"
	});
	return e === "theme" && t.setAttribute("fill-rule", "evenodd"), l("svg", {
		viewBox: "0 0 24 24",
		class: "icon",
		"aria-hidden": "true"
	}, t);
}
// src/map/palette.ts
var N = [
	"#1c9bf7",
	"#fe6a00",
	"#8254c4",
	"#f0bb4b",
	"#a03646",
	"#b3b2f9",
	"#81347c",
	"#cbaa89",
	"#e24130",
	"#8a9398"
], P = {
	light: [
		"#bcc7cd",
		"#d9a36b",
		"#c2540a"
	],
	dark: [
		"#3d4a52",
		"#b0793f",
		"#ffa65c"
	]
}, F = "#9aa3a8";
function I(e) {
	let t = Number.parseInt(e.slice(1), 16);
	return [
		t >> 16,
		t >> 8 & 255,
		t & 255
	];
}
function L(e) {
	return P[e];
}
function R(e, t) {
	let n = P[e].map(I), r = Math.max(0, Math.min(1, t)) * (n.length - 1), i = Math.min(n.length - 2, Math.floor(r)), [a, o] = [n[i], n[i + 1]], s = r - i;
	return [
		0,
		1,
		2
	].map((e) => Math.round(a[e] * (1 - s) + o[e] * s));
}
function z(e, t, n, r) {
	let i = t ? N.map(I) : Array.from({ length: 256 }, (e, t) => R(r, t / 255)), a = I(F), o = n[1] - n[0] || 1, s = new Uint8Array(4 * e.length);
	for (let r = 0; r < e.length; r++) {
		let c = e[r], l = i[t ? c : Math.max(0, Math.min(255, Math.round(255 * (c - n[0]) / o)))] ?? a;
		s[4 * r] = l[0], s[4 * r + 1] = l[1], s[4 * r + 2] = l[2], s[4 * r + 3] = 255;
	}
	return s;
}
// src/legend.ts
var B = class {
	desk;
	theme;
	choice;
	element = s("div", {
		class: "legend",
		role: "group",
		"aria-label": "Colours"
	});
	facts = null;
	values = /* @__PURE__ */ new Float64Array();
	alone = -1;
	constructor(e, t) {
		this.desk = e, this.theme = t, this.choice = s("select", {
			"aria-label": "Colour by",
			onchange: () => this.ask(this.choice.value)
		}, ...e.facts.colours.map((e) => s("option", { value: e }, e)));
	}
	refresh() {
		this.ask(this.choice.value);
	}
	repaint() {
		if (!this.facts) return;
		let { groups: e, bounds: t } = this.facts;
		this.desk.map.paint(z(this.values, e.length > 0, t ?? [0, 1], this.theme())), this.show();
	}
	release() {
		this.alone < 0 || (this.alone = -1, this.show());
	}
	said(e) {
		let t = this.values[e];
		if (!this.facts || t === void 0) return "";
		let { groups: n, name: r } = this.facts;
		return `${r} ${Number.isNaN(t) ? "gap" : n.length ? n[t] ?? "" : _(t)}`;
	}
	ask = u(async (e) => {
		this.element.classList.add("busy");
		try {
			let t = await this.desk.api.legend(e);
			this.values = await this.desk.api.values(e), this.facts = t, this.alone = -1, this.desk.map.highlight(null), this.repaint();
		} catch (e) {
			p(this.element, e);
		}
		this.element.classList.remove("busy");
	});
	show() {
		let { name: e, groups: t, bounds: n } = this.facts;
		this.element.replaceChildren(s("h2", {}, e), t.length ? this.groups(t) : V(n ?? [0, 1], this.theme())), this.values.some(Number.isNaN) && this.element.append(s("p", { class: "aside" }, "grey: gap"));
	}
	groups(e) {
		let t = e.map((e, t) => {
			let n = s("span", { class: "dot" });
			return n.style.background = N[t], s("button", {
				type: "button",
				"aria-pressed": String(t === this.alone),
				title: `Show ${e} alone`,
				onclick: () => this.isolate(t)
			}, n, s("span", { class: "name" }, e));
		});
		return s("div", { class: this.alone < 0 ? "groups" : "groups has-alone" }, ...t);
	}
	isolate(e) {
		this.alone = this.alone === e ? -1 : e;
		let { alone: t, values: n } = this;
		this.desk.map.highlight(t < 0 ? null : (e) => n[e] === t), this.show();
	}
};
function V([e, t], n) {
	let r = s("span", { class: "ramp" });
	return r.style.background = `linear-gradient(to right, ${L(n).join(", ")})`, s("div", { class: "scale" }, r, s("div", { class: "ends" }, s("span", {}, _(e)), s("span", {}, `${_(t)} and more`)));
}
// src/map/camera.ts
function H(e, t, n) {
	return [e.width / 2 + (t - e.x) * e.scale, e.height / 2 - (n - e.y) * e.scale];
}
function U(e, t, n) {
	return [e.x + (t - e.width / 2) / e.scale, e.y - (n - e.height / 2) / e.scale];
}
function W(e, t, n, r) {
	let [i, a] = U(e, n, r), o = e.scale * t;
	return {
		...e,
		scale: o,
		x: i - (n - e.width / 2) / o,
		y: a + (r - e.height / 2) / o
	};
}
function G(e, t, n) {
	return {
		...e,
		x: e.x - t / e.scale,
		y: e.y + n / e.scale
	};
}
var K = 20;
function q(e, t, n, r) {
	let i = e.length < K ? Math.min(n, r) / 4 : 36, [a, o] = J(e), [s, c] = J(t), l = Math.max(o - a, 1e-9), u = Math.max(c - s, 1e-9), d = Math.min((n - 2 * i) / l, (r - 2 * i) / u), f = l <= 1e-9 && u <= 1e-9 ? 1 : Math.max(d, 1e-9);
	return {
		x: (a + o) / 2,
		y: (s + c) / 2,
		scale: f,
		width: n,
		height: r
	};
}
function J(e) {
	let t = Math.max(1, Math.floor(e.length / 2e4)), n = Float32Array.from({ length: Math.ceil(e.length / t) }, (n, r) => e[r * t] ?? 0).sort();
	return [n[Math.floor(.001 * (n.length - 1))] ?? 0, n[Math.ceil(.999 * (n.length - 1))] ?? 0];
}
// src/map/grid.ts
var se = 512, Y = class {
	x;
	y;
	starts;
	order;
	side;
	left;
	bottom;
	step;
	constructor(e, t, n = 1) {
		this.x = e, this.y = t, this.side = Math.max(1, Math.min(se, Math.ceil(Math.sqrt(e.length / n / 4))));
		let [r, i] = J(e), [a, o] = J(t);
		this.left = r, this.bottom = a, this.step = Math.max(i - r, o - a, 1e-12) / this.side;
		let s = new Uint32Array(e.length);
		this.starts = new Uint32Array(this.side * this.side + 1);
		for (let r = 0; r < e.length; r += n) {
			let n = this.row(t[r]) * this.side + this.column(e[r]);
			s[r] = n, this.starts[n + 1] = this.starts[n + 1] + 1;
		}
		for (let e = 0; e < this.side * this.side; e++) this.starts[e + 1] = this.starts[e + 1] + this.starts[e];
		let c = this.starts.slice();
		this.order = new Uint32Array(Math.ceil(e.length / n));
		for (let t = 0; t < e.length; t += n) {
			let e = s[t];
			this.order[c[e]] = t, c[e] = c[e] + 1;
		}
	}
	nearest(e, t, n) {
		let r = -1, i = n * n;
		return this.visit(e - n, t - n, e + n, t + n, (n) => {
			let a = (this.x[n] - e) ** 2 + (this.y[n] - t) ** 2;
			a <= i && (i = a, r = n);
		}), r;
	}
	inside(e) {
		let t = e.map(([e]) => e), n = e.map(([, e]) => e), r = [];
		return this.visit(Math.min(...t), Math.min(...n), Math.max(...t), Math.max(...n), (t) => {
			ce(e, this.x[t], this.y[t]) && r.push(t);
		}), Uint32Array.from(r).sort();
	}
	visit(e, t, n, r, i) {
		let [a, o] = [this.column(e), this.column(n)];
		for (let e = this.row(t); e <= this.row(r); e++) {
			let t = this.starts[e * this.side + a], n = this.starts[e * this.side + o + 1];
			for (let e = t; e < n; e++) i(this.order[e]);
		}
	}
	column(e) {
		return Math.max(0, Math.min(this.side - 1, Math.floor((e - this.left) / this.step)));
	}
	row(e) {
		return Math.max(0, Math.min(this.side - 1, Math.floor((e - this.bottom) / this.step)));
	}
};
function ce(e, t, n) {
	let r = !1;
	for (let i = 0, a = e.length - 1; i < e.length; a = i++) {
		let [o, s] = e[i], [c, l] = e[a];
		s > n != l > n && t < (c - o) * (n - s) / (l - s) + o && (r = !r);
	}
	return r;
}
// src/map/painters.ts
var le = "\nattribute vec2 place;\nattribute vec4 colour;\nuniform vec2 middle, half_size;\nuniform float scale, size, alpha;\nvarying vec4 shade;\nvarying float across;\nvoid main() {\n  gl_Position = vec4((place - middle) * scale / half_size, 0.0, 1.0);\n  gl_PointSize = size;\n  across = size;\n  float seen = colour.a * alpha;\n  shade = vec4(colour.rgb * seen, seen);\n}", ue = "\nprecision mediump float;\nvarying vec4 shade;\nvarying float across;\nvoid main() {\n  float away = length(gl_PointCoord - 0.5) * across;\n  gl_FragColor = shade * (across < 3.5 ? 1.0 : clamp(across * 0.5 - away, 0.0, 1.0));\n}", de = class {
	gl;
	name = "webgl";
	most = Infinity;
	count = 0;
	program;
	placeBuffer;
	colourBuffer;
	constructor(e) {
		this.gl = e;
		let t = e.createProgram();
		for (let [n, r] of [[e.VERTEX_SHADER, le], [e.FRAGMENT_SHADER, ue]]) {
			let i = e.createShader(n);
			e.shaderSource(i, r), e.compileShader(i), e.attachShader(t, i);
		}
		if (e.linkProgram(t), !e.getProgramParameter(t, e.LINK_STATUS)) throw Error(e.getProgramInfoLog(t) ?? "no program");
		e.useProgram(t), this.program = t, this.placeBuffer = e.createBuffer(), this.colourBuffer = e.createBuffer(), e.enable(e.BLEND), e.blendFunc(e.ONE, e.ONE_MINUS_SRC_ALPHA);
	}
	points(e, t) {
		let n = new Float32Array(2 * e.length);
		for (let r = 0; r < e.length; r++) n[2 * r] = e[r], n[2 * r + 1] = t[r];
		this.count = e.length, this.fill(this.placeBuffer, n);
	}
	colours(e) {
		this.fill(this.colourBuffer, e);
	}
	draw(e, t, n, r) {
		let { gl: i } = this;
		this.point("place", this.placeBuffer, 2, i.FLOAT, !1, 8 * r), this.point("colour", this.colourBuffer, 4, i.UNSIGNED_BYTE, !0, 4 * r);
		let a = i.drawingBufferWidth / Math.max(1, e.width);
		i.viewport(0, 0, i.drawingBufferWidth, i.drawingBufferHeight), i.clearColor(0, 0, 0, 0), i.clear(i.COLOR_BUFFER_BIT);
		let o = (e) => i.getUniformLocation(this.program, e);
		i.uniform2f(o("middle"), e.x, e.y), i.uniform2f(o("half_size"), e.width / 2, e.height / 2), i.uniform1f(o("scale"), e.scale), i.uniform1f(o("size"), t * a), i.uniform1f(o("alpha"), Math.min(1, n * Math.sqrt(r))), i.drawArrays(i.POINTS, 0, Math.ceil(this.count / r));
	}
	point(e, t, n, r, i, a) {
		let { gl: o } = this, s = o.getAttribLocation(this.program, e);
		o.bindBuffer(o.ARRAY_BUFFER, t), o.enableVertexAttribArray(s), o.vertexAttribPointer(s, n, r, i, a, 0);
	}
	fill(e, t) {
		this.gl.bindBuffer(this.gl.ARRAY_BUFFER, e), this.gl.bufferData(this.gl.ARRAY_BUFFER, t, this.gl.DYNAMIC_DRAW);
	}
}, fe = 5e3, X = class {
	context;
	name = "canvas";
	most = 2e4;
	x = /* @__PURE__ */ new Float32Array();
	y = /* @__PURE__ */ new Float32Array();
	stride = 1;
	rgba = /* @__PURE__ */ new Uint8Array();
	constructor(e) {
		this.context = e;
	}
	points(e, t, n) {
		this.x = e, this.y = t, this.stride = n;
	}
	colours(e) {
		this.rgba = e;
	}
	draw(e, t, n, r) {
		let { context: i, rgba: a } = this, { width: o, height: s } = i.canvas, c = o / Math.max(1, e.width);
		i.setTransform(1, 0, 0, 1, 0, 0), i.clearRect(0, 0, o, s), i.setTransform(c, 0, 0, c, 0, 0);
		let l = this.x.length <= fe;
		for (let r = 0; r < this.x.length; r += this.stride) {
			let [o, s] = H(e, this.x[r], this.y[r]);
			o < -t || s < -t || o > e.width + t || s > e.height + t || (i.globalAlpha = n * a[4 * r + 3] / 255, i.fillStyle = `rgb(${a[4 * r]} ${a[4 * r + 1]} ${a[4 * r + 2]})`, l ? (i.beginPath(), i.arc(o, s, t / 2, 0, 2 * Math.PI), i.fill()) : i.fillRect(o - t / 2, s - t / 2, t, t));
		}
		i.globalAlpha = 1;
	}
};
function pe(e) {
	let t = e.getContext("webgl", {
		antialias: !1,
		premultipliedAlpha: !0,
		preserveDrawingBuffer: !0
	});
	return t ? new de(t) : new X(e.getContext("2d"));
}
// src/map/view.ts
var me = 12, he = 70, ge = 8e4, _e = 31, ve = 200, ye = class {
	on;
	element;
	painter;
	marks = {
		picked: -1,
		hovered: -1,
		ends: [-1, -1],
		path: [],
		near: [],
		probe: null
	};
	count = 0;
	stride = 1;
	tool = "pan";
	camera = {
		x: 0,
		y: 0,
		scale: 1,
		width: 1,
		height: 1
	};
	x = /* @__PURE__ */ new Float32Array();
	y = /* @__PURE__ */ new Float32Array();
	grid = new Y(this.x, this.y);
	rgba = /* @__PURE__ */ new Uint8Array();
	isDimmed = null;
	canvas = s("canvas", { class: "points" });
	overlay = s("canvas", { class: "overlay" });
	probe = s("button", {
		type: "button",
		class: "probe",
		hidden: !0,
		"aria-label": "Probe: the decoder draws what stands here. Arrow keys move it."
	});
	pointers = /* @__PURE__ */ new Map();
	drawn = [];
	pressedAt = null;
	hasMoved = !1;
	pending = 0;
	home = 1;
	settling = 0;
	isGliding = !1;
	thinned = 1;
	constructor(e) {
		this.on = e, this.element = s("div", {
			class: "map",
			tabIndex: 0,
			role: "application",
			"aria-label": "Map of the codes. Arrow keys pan, plus and minus zoom, 0 shows all, J and K step through the points."
		}, this.canvas, this.overlay, this.probe), this.painter = pe(this.canvas), this.listen(), new ResizeObserver(() => this.resize()).observe(this.element);
	}
	show(e, t) {
		this.resize(), this.count = e.length, this.x = e, this.y = t, this.stride = Math.max(1, Math.ceil(this.count / this.painter.most)), this.grid = new Y(e, t, this.stride), this.painter.points(e, t, this.stride), this.fit();
	}
	paint(e) {
		this.rgba = e, this.shade();
	}
	highlight(e) {
		if (this.isDimmed = null, e) {
			this.isDimmed = new Uint8Array(this.count);
			for (let t = 0; t < this.count; t++) this.isDimmed[t] = +!e(t);
		}
		this.shade();
	}
	fit() {
		this.camera = q(this.x, this.y, this.camera.width, this.camera.height), this.home = this.camera.scale, this.redraw();
	}
	zoom(e, t = [this.camera.width / 2, this.camera.height / 2]) {
		this.camera = W(this.camera, e, ...t), this.glide();
	}
	reveal(e) {
		let [t, n] = this.screen(e), { width: r, height: i } = this.camera;
		t > 0 && n > 0 && t < r && n < i || (this.camera = {
			...this.camera,
			x: this.x[e] ?? 0,
			y: this.y[e] ?? 0
		}, this.redraw());
	}
	screen(e) {
		return H(this.camera, this.x[e] ?? 0, this.y[e] ?? 0);
	}
	place(e) {
		return [this.x[e] ?? 0, this.y[e] ?? 0];
	}
	toScreen(e) {
		return H(this.camera, ...e);
	}
	use(e) {
		this.tool = e, this.element.dataset.tool = e;
	}
	redraw() {
		if (this.pending) return;
		let e = performance.now();
		this.pending = requestAnimationFrame(() => {
			this.pending = 0;
			let t = performance.now() - e;
			this.isGliding && t > he && (this.thinned = Math.min(_e, Math.ceil(this.count / ge))), this.draw(), this.isGliding && this.rest();
		});
	}
	glide() {
		this.isGliding = !0, clearTimeout(this.settling), this.redraw();
	}
	rest() {
		clearTimeout(this.settling), this.settling = window.setTimeout(() => {
			this.isGliding = !1, this.thinned > 1 && this.redraw();
		}, ve);
	}
	shade() {
		if (!this.rgba.length) return;
		let e = this.rgba.slice(0, 4 * this.count);
		if (this.isDimmed) for (let t = 0; t < this.count; t++) e[4 * t + 3] = this.isDimmed[t] ? 26 : 255;
		this.painter.colours(e), this.redraw();
	}
	resize() {
		let { width: e, height: t } = this.element.getBoundingClientRect();
		if (!e || !t || e === this.camera.width && t === this.camera.height) return;
		let n = Math.min(2, window.devicePixelRatio || 1);
		for (let r of [this.canvas, this.overlay]) r.width = Math.round(e * n), r.height = Math.round(t * n);
		let r = this.camera.width <= 1, i = r ? 1 : Math.min(e / this.camera.width, t / this.camera.height);
		this.camera = {
			...this.camera,
			width: e,
			height: t,
			scale: this.camera.scale * i
		}, this.home *= i, r && this.count && this.fit(), this.draw();
	}
	draw() {
		if (this.camera.width <= 1) return;
		let e = this.size(), t = this.isGliding ? this.thinned : 1;
		this.painter.draw(this.camera, e, this.count > 5e4 ? .55 : this.count > 5e3 ? .75 : .9, t), this.drawMarks(e);
	}
	size() {
		let e = Math.max(1.6, Math.min(8, 22 / Math.max(1, this.count) ** .16 - 1.2));
		return Math.min(14, e * (this.camera.scale / this.home) ** .3);
	}
	drawMarks(e) {
		let t = this.overlay.getContext("2d"), n = this.overlay.width / Math.max(1, this.camera.width), r = getComputedStyle(this.element), [i, a, o] = [
			"--ink",
			"--accent",
			"--paper"
		].map((e) => r.getPropertyValue(e).trim());
		t.setTransform(n, 0, 0, n, 0, 0), t.clearRect(0, 0, this.camera.width, this.camera.height);
		let s = (e, n, r, i) => {
			e < 0 || e >= this.count || (t.beginPath(), t.arc(...this.screen(e), n, 0, 2 * Math.PI), t.strokeStyle = o ?? "", t.lineWidth = i + 2.5, t.stroke(), t.strokeStyle = r ?? "", t.lineWidth = i, t.stroke());
		}, { marks: c } = this;
		if (c.path.length > 1) {
			t.beginPath();
			for (let e of c.path) t.lineTo(...this.toScreen(e));
			t.strokeStyle = a ?? "", t.lineWidth = 2, t.stroke();
		}
		for (let t of c.near) s(t, e / 2 + 3, a, 1.5);
		for (let t of c.ends) s(t, e / 2 + 5, a, 2.5);
		if (s(c.hovered, e / 2 + 3, i, 1.5), s(c.picked, e / 2 + 4, i, 2.5), this.drawn.length > 1) {
			t.beginPath();
			for (let e of this.drawn) t.lineTo(...e);
			t.closePath(), t.strokeStyle = a ?? "", t.lineWidth = 1.5, t.setLineDash([5, 4]), t.stroke(), t.setLineDash([]);
		}
		if (this.probe.hidden = c.probe === null, c.probe) {
			let [e, t] = this.toScreen(c.probe);
			this.probe.style.transform = `translate(${e}px, ${t}px)`;
		}
	}
	listen() {
		let { element: e } = this;
		e.addEventListener("pointerdown", (e) => this.press(e)), e.addEventListener("pointermove", (e) => this.move(e));
		for (let t of ["pointerup", "pointercancel"]) e.addEventListener(t, (e) => this.release(e));
		e.addEventListener("pointerleave", () => this.hover(-1, [0, 0])), e.addEventListener("wheel", (e) => {
			e.preventDefault(), this.zoom(Math.exp(-e.deltaY * (e.deltaMode ? .05 : .0015)), this.at(e));
		}, { passive: !1 }), e.addEventListener("dblclick", () => this.fit()), e.addEventListener("keydown", (e) => this.key(e));
	}
	at(e) {
		let t = this.element.getBoundingClientRect();
		return [e.clientX - t.left, e.clientY - t.top];
	}
	press(e) {
		if (e.button !== 0) return;
		let t = this.at(e);
		this.pointers.set(e.pointerId, t), this.element.setPointerCapture(e.pointerId), this.pressedAt = t, this.hasMoved = !1, this.isProbing = e.target === this.probe || this.tool === "decode" && !e.shiftKey, this.isDrawing = !this.isProbing && (this.tool === "lasso" || e.altKey), this.tool === "decode" && e.target !== this.probe && !e.shiftKey && this.moveProbe(t);
	}
	isProbing = !1;
	isDrawing = !1;
	move(e) {
		let t = this.at(e), n = this.pointers.get(e.pointerId);
		if (!n) {
			e.target !== this.probe && this.hover(this.under(t), t);
			return;
		}
		let [r, i] = [t[0] - n[0], t[1] - n[1]];
		this.pressedAt && Math.hypot(t[0] - this.pressedAt[0], t[1] - this.pressedAt[1]) > 4 && (this.hasMoved = !0), this.hasMoved && (this.pointers.size === 2 ? this.pinch(e.pointerId, t, n) : this.isProbing ? this.moveProbe(t) : this.isDrawing ? this.drawn.push(t) : this.camera = G(this.camera, r, i), this.pointers.set(e.pointerId, t), this.hover(-1, t), this.glide());
	}
	pinch(e, t, n) {
		let r = [...this.pointers].find(([t]) => t !== e)?.[1] ?? t, i = (e) => Math.hypot(e[0] - r[0], e[1] - r[1]) || 1;
		this.camera = G(this.camera, (t[0] - n[0]) / 2, (t[1] - n[1]) / 2), this.camera = W(this.camera, i(t) / i(n), (t[0] + r[0]) / 2, (t[1] + r[1]) / 2);
	}
	release(e) {
		if (!this.pointers.delete(e.pointerId)) return;
		let t = this.at(e);
		if (this.isDrawing && this.drawn.length > 2) {
			let e = this.drawn.map(([e, t]) => U(this.camera, e, t));
			this.on.lasso(this.grid.inside(e));
		} else !this.hasMoved && !this.isProbing && e.type === "pointerup" && this.on.pick(this.under(t), e.shiftKey);
		this.drawn = [], this.redraw();
	}
	under(e) {
		return this.grid.nearest(...U(this.camera, ...e), me / this.camera.scale);
	}
	hover(e, t) {
		e === this.marks.hovered && e < 0 || (this.marks.hovered = e, this.on.hover(e, t), this.redraw());
	}
	moveProbe(e) {
		this.marks.probe = U(this.camera, ...e), this.on.probe(this.marks.probe), this.redraw();
	}
	key(e) {
		if (e.ctrlKey || e.metaKey || e.altKey) return;
		let t = e.shiftKey ? 60 : 15, n = {
			ArrowLeft: [-t, 0],
			ArrowRight: [t, 0],
			ArrowUp: [0, -t],
			ArrowDown: [0, t]
		}[e.key];
		if (n && (e.target === this.probe || this.tool === "decode")) {
			let [e, t] = this.marks.probe ? this.toScreen(this.marks.probe) : [this.camera.width / 2, this.camera.height / 2];
			this.moveProbe([e + n[0], t + n[1]]);
		} else if (n) this.camera = G(this.camera, -2 * n[0], -2 * n[1]), this.redraw();
		else if (e.key === "+" || e.key === "=") this.zoom(1.3);
		else if (e.key === "-") this.zoom(1 / 1.3);
		else if (e.key === "0") this.fit();
		else if (e.key === "j" || e.key === "k") {
			let t = e.key === "j" ? this.marks.picked + 1 : Math.max(this.marks.picked, 0) - 1;
			this.on.pick((t + this.count) % this.count, !1);
		} else return;
		e.preventDefault();
	}
}, be = {
	model: "this model",
	pca: "PCA",
	mean: "the mean"
}, xe = {
	good: "✓",
	note: "i",
	warning: "!"
}, Se = class {
	desk;
	id = "health";
	title = "Health";
	element = s("div", {}, s("h2", {}, "How good it is"));
	body = s("div", { role: "status" });
	isLoaded = !1;
	constructor(e) {
		this.desk = e, this.element.append(this.body);
	}
	open() {
		this.isLoaded || this.load();
	}
	back() {
		!this.isLoaded && this.body.childElementCount && this.load();
	}
	async load() {
		this.body.replaceChildren(s("p", { class: "aside busy" }, "Examining the model …"));
		try {
			this.show(await this.desk.api.health()), this.isLoaded = !0;
		} catch (e) {
			p(this.body, e);
		}
	}
	show(e) {
		this.body.replaceChildren(s("p", {}, e.summary), this.scores(e), s("ul", { class: "findings" }, ...e.health.map((e) => s("li", { class: e.verdict }, s("span", {
			class: "sign",
			"aria-label": e.verdict
		}, xe[e.verdict]), s("div", {}, s("b", {}, e.title), s("p", {}, e.sentence), e.advice ? s("p", { class: "aside" }, e.advice) : null)))), s("p", { class: "aside" }, e.scope), ...e.data.notes.map((e) => s("p", { class: "aside" }, e)));
	}
	scores({ scores: e }) {
		let t = Math.max(...[
			"model",
			"pca",
			"mean"
		].map((t) => e[t].squared_error), 1e-30), n = [
			"model",
			"pca",
			"mean"
		].map((n) => {
			let r = s("span", { class: `level ${n}` });
			return r.style.width = `${Math.max(.5, 100 * e[n].squared_error / t)}%`, s("div", { class: "rival" }, s("span", { class: "name" }, be[n]), s("span", { class: "track" }, r), s("span", {
				class: "value",
				"data-figure": `squared error of ${n}`,
				"data-value": e[n].squared_error
			}, _(e[n].squared_error)));
		});
		return s("div", {}, s("dl", { class: "figures" }, m("explained", e.model.explained, y(e.model.explained)), m("by PCA", e.pca.explained, y(e.pca.explained))), s("h3", {}, "Squared error"), s("div", { class: "rivals" }, ...n));
	}
}, [Z, Q] = [340, 120], Ce = 60, we = class {
	desk;
	id = "odd";
	title = "Odd ones";
	element;
	judged = null;
	scores = null;
	threshold = 0;
	isOpen = !1;
	isAsking = !1;
	status = s("div", { role: "status" });
	chart = s("div", { class: "histogram" });
	figures = s("dl", { class: "figures" });
	list = s("ol", { class: "odd-list" });
	said = s("div", {});
	constructor(e) {
		this.desk = e, this.element = s("div", {}, s("h2", {}, "Rows that do not belong"), this.status, this.chart, this.figures, this.list, this.said);
	}
	open() {
		this.isOpen = !0, this.judged ? this.brighten() : this.load();
	}
	close() {
		this.isOpen = !1, this.desk.map.highlight(null);
	}
	back() {
		this.isOpen && !this.judged && this.load();
	}
	async load() {
		if (!this.isAsking) {
			this.isAsking = !0, this.status.replaceChildren(s("p", { class: "aside busy" }, "Judging every row …"));
			try {
				let e = await this.desk.api.odd();
				this.scores = await this.desk.api.values("anomaly score"), this.judged = e, this.threshold = e.cut, this.status.replaceChildren(), this.said.replaceChildren(s("h3", {}, "By the detector itself"), ...e.sentences.map((e) => s("p", { class: "aside" }, e))), this.show(e), this.isOpen && this.brighten();
			} catch (e) {
				p(this.status, e);
			} finally {
				this.isAsking = !1;
			}
		}
	}
	move(e) {
		this.threshold = e, this.drawChart(), this.brighten(), this.ask(e);
	}
	ask = u(async (e) => {
		try {
			this.show(await this.desk.api.flagged(e));
		} catch (e) {
			p(this.status, e);
		}
	});
	brighten() {
		let { scores: e, threshold: t } = this;
		if (!e) return;
		let n = e.some((e) => e > t);
		this.desk.map.highlight(n ? (n) => e[n] > t : null);
	}
	show(e) {
		let t = this.judged?.noun ?? "row";
		this.figures.replaceChildren(m("threshold", e.threshold, _(e.threshold)), m("flagged", e.flagged, x(e.flagged, t)), m("false alarms", e.false_alarm_rate, `${y(e.false_alarm_rate)} of normal ${t}s`)), this.list.replaceChildren(...e.rows.map((e) => s("li", { class: e.flag ? "flagged" : "" }, s("button", {
			type: "button",
			"data-row": e.row,
			onclick: () => this.desk.pick(e.row)
		}, s("span", { class: "name" }, e.name), s("span", {
			class: "score",
			"data-value": e.anomaly_score
		}, _(e.anomaly_score)), s("span", { class: "p" }, `p ${_(e.p_value)}`)), ...e.reasons.map((e) => s("p", { class: "reason" }, e))))), this.drawChart();
	}
	drawChart() {
		let { judged: e } = this;
		if (!e) return;
		let { counts: t, edges: n } = e, [r, i] = [n[0], n.at(-1)], a = Math.max(...t), o = a > Ce, s = (e) => e ? Math.max(3, (o ? Math.log1p(e) / Math.log1p(a) : e / a) * (Q - 12)) : 0, c = (e) => Z * (e - r) / (i - r), u = Math.max(0, Math.min(Z, c(this.threshold))), d = l("svg", { viewBox: `0 0 ${Z} ${Q + 16}` });
		t.forEach((e, t) => {
			let [r, i] = [c(n[t]), c(n[t + 1])], a = (r + i) / 2 > u;
			d.append(l("rect", {
				x: r + .4,
				width: Math.max(.5, i - r - .8),
				y: Q - s(e),
				height: s(e),
				rx: 1,
				class: a ? "bar over" : "bar"
			}));
		});
		let f = l("g", {
			class: "threshold",
			transform: `translate(${u} 0)`
		}, l("line", {
			y1: 0,
			y2: Q
		}), l("circle", {
			cy: 6,
			r: 6
		})), p = (e, t, n) => {
			let r = l("text", {
				x: e,
				y: Q + 12,
				"text-anchor": n
			});
			return r.textContent = t, r;
		};
		d.append(f, p(0, _(r), "start"), p(Z, `${_(i)}${o ? " (bars: log scale)" : ""}`, "end")), this.chart.firstElementChild || this.chart.append(this.slider(r, i));
		let m = this.chart.firstElementChild;
		m.setAttribute("aria-valuenow", String(this.threshold)), m.setAttribute("aria-valuetext", `${_(this.threshold)}, ${v(this.scores?.filter((e) => e > this.threshold).length ?? 0)} flagged`), m.replaceChildren(d);
	}
	slider(e, t) {
		let n = s("div", {
			class: "drag",
			role: "slider",
			tabIndex: 0,
			"aria-label": "Threshold",
			"aria-valuemin": e,
			"aria-valuemax": t,
			onkeydown: (n) => {
				let r = (t - e) / 100 * (n.shiftKey ? 5 : 1), i = {
					ArrowLeft: -r,
					ArrowDown: -r,
					ArrowRight: r,
					ArrowUp: r
				}[n.key];
				i !== void 0 && (n.preventDefault(), this.move(Math.max(e, Math.min(t, this.threshold + i))));
			},
			onpointerdown: (e) => {
				n.setPointerCapture(e.pointerId), r(e);
			},
			onpointermove: (e) => {
				n.hasPointerCapture(e.pointerId) && r(e);
			}
		}), r = (r) => {
			let i = n.getBoundingClientRect(), a = Math.max(0, Math.min(1, (r.clientX - i.left) / i.width));
			this.move(e + a * (t - e));
		};
		return n;
	}
}, Te = class {
	desk;
	id = "sample";
	title = "Sample";
	element;
	kept = /* @__PURE__ */ new Map();
	isDrawn = !1;
	n = s("input", {
		type: "number",
		min: "1",
		max: "200",
		value: "12",
		"aria-label": "How many"
	});
	seed = s("input", {
		type: "number",
		min: "0",
		value: "0",
		"aria-label": "Seed"
	});
	grid = s("div", { class: "grid" });
	take = s("button", {
		type: "button",
		class: "main",
		disabled: !0,
		onclick: () => void this.download()
	});
	sheet = s("button", {
		type: "button",
		hidden: !0,
		onclick: () => this.picture()
	}, "As one picture");
	trouble = s("div", {});
	constructor(e) {
		this.desk = e, this.element = s("div", {}, s("h2", {}, "New samples"), s("p", { class: "aside" }, e.facts.drawn_from), s("div", { class: "row" }, s("label", { class: "field" }, "how many", this.n), s("label", { class: "field" }, "seed", this.seed), s("button", {
			type: "button",
			class: "main",
			"data-do": "draw",
			onclick: () => this.draw()
		}, "Draw"), s("button", {
			type: "button",
			onclick: () => this.next()
		}, "Next")), this.grid, this.trouble, s("p", { class: "aside" }, "Click what pleases: it is kept, whatever you draw next."), s("div", { class: "row" }, this.take, this.sheet, s("button", {
			type: "button",
			class: "quiet",
			onclick: () => this.forget()
		}, "Keep none"))), this.count();
	}
	open() {
		this.isDrawn || this.draw();
	}
	back() {
		this.draw();
	}
	next() {
		this.seed.value = String(Number(this.seed.value) + 1), this.draw();
	}
	draw() {
		let e = Math.max(1, Math.min(200, Math.round(Number(this.n.value)) || 12));
		this.ask({
			n: e,
			seed: Math.max(0, Math.round(Number(this.seed.value)) || 0)
		});
	}
	ask = u(async ({ n: e, seed: t }) => {
		try {
			let { shown: n } = await this.desk.api.sample(e, t);
			this.isDrawn = !0, this.trouble.replaceChildren(), this.grid.replaceChildren(...n.map((n, r) => this.card({
				seed: t,
				n: e,
				place: r,
				preview: n
			})));
		} catch (e) {
			p(this.trouble, e);
		}
	});
	card(e) {
		let t = `${e.seed}/${e.n}/${e.place}`, n = s("button", {
			type: "button",
			class: "card",
			"aria-pressed": String(this.kept.has(t)),
			"aria-label": `sample ${e.place + 1}`,
			onclick: () => {
				this.kept.delete(t) || this.kept.set(t, e), n.setAttribute("aria-pressed", String(this.kept.has(t))), this.count();
			}
		}, S(e.preview, `sample ${e.place + 1}`));
		return n;
	}
	count() {
		this.take.textContent = this.kept.size ? `Download ${x(this.kept.size, "sample")}` : "Nothing kept yet", this.take.disabled = !this.kept.size, this.sheet.hidden = ![...this.kept.values()].some((e) => e.preview.image);
	}
	forget() {
		this.kept.clear();
		for (let e of this.grid.children) e.setAttribute("aria-pressed", "false");
		this.count();
	}
	async download() {
		try {
			let e = [...this.kept.values()].map(({ seed: e, n: t, place: n }) => ({
				seed: e,
				n: t,
				place: n
			})), { blob: t, name: n } = await this.desk.api.kept(e);
			d(t, n);
		} catch (e) {
			p(this.trouble, e);
		}
	}
	picture() {
		let e = [...this.kept.values()].map((e) => S(e.preview, "")), [t, n] = [e[0]?.width ?? 1, e[0]?.height ?? 1], r = Math.ceil(Math.sqrt(e.length)), i = s("canvas", {
			width: r * (t + 1) - 1,
			height: Math.ceil(e.length / r) * (n + 1) - 1
		}), a = i.getContext("2d");
		e.forEach((e, i) => {
			a?.drawImage(e, i % r * (t + 1), Math.floor(i / r) * (n + 1));
		}), i.toBlob((e) => e && d(e, "samples.png"));
	}
}, Ee = {
	sqeuclidean: "squared distance of the codes",
	cosine: "cosine distance of the codes",
	hamming: "number of bits that differ"
}, De = class {
	desk;
	id = "search";
	title = "Search";
	element;
	isOpen = !1;
	last = null;
	heading = s("p", { class: "aside" }, "Pick a row on the map, or give a file: its first row is looked up.");
	asked = s("div", { class: "asked" });
	grid = s("div", { class: "grid" });
	k = s("input", {
		type: "number",
		min: "1",
		max: "200",
		value: "8",
		"aria-label": "How many",
		onchange: () => this.again()
	});
	constructor(e, t) {
		this.desk = e;
		let n = s("input", {
			type: "file",
			"aria-label": "A file to look up",
			onchange: () => {
				let e = n.files?.[0];
				e && this.look({ file: e }), n.value = "";
			}
		}), r = s("label", {
			class: "drop",
			ondragover: (e) => e.preventDefault(),
			ondrop: (e) => {
				e.preventDefault();
				let t = e.dataTransfer?.files[0];
				t && this.look({ file: t });
			}
		}, e.facts.kind === "images" ? "Look up a picture: drop it here, or choose one" : "Look up a row: drop a file here, or choose one", n);
		this.element = s("div", {}, s("h2", {}, "What is alike"), this.heading, s("div", { class: "row" }, s("label", { class: "field" }, "how many", this.k), s("button", {
			type: "button",
			onclick: () => this.look({ code: t() })
		}, "Like what is decoded")), e.facts.takes_files ? r : null, this.asked, this.grid);
	}
	open() {
		this.isOpen = !0;
		let { picked: e, map: t } = this.desk;
		e ? this.look({ row: e.row }) : t.redraw();
	}
	close() {
		this.isOpen = !1, this.desk.map.marks.near = [], this.desk.map.redraw();
	}
	picked(e) {
		this.isOpen && this.look({ row: e.row });
	}
	back() {
		this.again();
	}
	again() {
		this.last && this.ask(this.last);
	}
	look(e) {
		this.last = e, this.ask(e);
	}
	ask = u(async (e) => {
		let t = Math.max(1, Math.min(200, Math.round(Number(this.k.value)) || 8)), { api: n, facts: r } = this.desk;
		try {
			let i;
			this.asked.replaceChildren(), "row" in e ? (i = await n.near(e.row, t), this.heading.textContent = `The rows nearest to ${r.noun} ${e.row}, by code.`) : "code" in e ? (i = await n.nearCode(e.code, t), this.heading.textContent = "The rows nearest to what is decoded at the probe.") : (i = await n.search(e.file, t), this.heading.textContent = `The rows nearest to the first of ${e.file.name}.`, i.asked && this.asked.append(S(i.asked, e.file.name))), this.show(i);
		} catch (e) {
			p(this.grid, e);
		}
	});
	show(e) {
		let { map: t, facts: n } = this.desk;
		this.heading.append(` The number is the ${Ee[e.metric] ?? e.metric}.`), this.isOpen && (t.marks.near = e.rows), t.redraw(), this.grid.replaceChildren(...e.rows.map((t, r) => s("button", {
			type: "button",
			class: "card",
			"data-row": t,
			onclick: () => this.desk.pick(t)
		}, S(e.shown[r] ?? {}, `${n.noun} ${t}`), s("span", { class: "caption" }, `${n.noun} ${t}`), s("span", {
			class: "caption pale",
			"data-value": e.distances[r] ?? ""
		}, _(e.distances[r])))));
	}
}, Oe = class {
	desk;
	id = "walk";
	title = "Walk";
	element;
	start = -1;
	end = -1;
	steps = 9;
	path = "linear";
	ends = s("p", { class: "ends" });
	strip = s("div", {
		class: "strip",
		role: "list",
		"aria-label": "Film strip"
	});
	constructor(e) {
		this.desk = e;
		let t = s("input", {
			type: "number",
			min: "2",
			max: "50",
			value: String(this.steps),
			"aria-label": "Steps",
			onchange: () => {
				this.steps = Math.max(2, Math.min(50, Math.round(Number(t.value)) || 9)), t.value = String(this.steps), this.ask(null);
			}
		});
		this.element = s("div", {}, s("h2", {}, "From one to another"), this.ends, s("div", { class: "row" }, f("Path", [["linear", "Linear"], ["spherical", "Spherical"]], "linear", (e) => {
			this.path = e, this.ask(null);
		}), s("label", { class: "field" }, "steps", t), s("button", {
			type: "button",
			class: "quiet",
			onclick: () => this.swap()
		}, "Swap")), this.strip, s("p", { class: "aside" }, "A linear path cuts straight through the codes; a spherical one turns at an even rate, and stays where codes of a normal cloud are.")), this.tell();
	}
	setEnd(e, t) {
		this[e] = t, this.tell(), this.ask(null);
	}
	open() {
		this.mark();
	}
	close() {
		this.desk.map.marks.path = [], this.desk.map.marks.ends = [-1, -1], this.desk.map.redraw();
	}
	picked(e) {
		this.start < 0 ? this.setEnd("start", e.row) : e.row !== this.start && this.setEnd("end", e.row);
	}
	back() {
		this.ask(null);
	}
	swap() {
		[this.start, this.end] = [this.end, this.start], this.tell(), this.ask(null);
	}
	tell() {
		let { noun: e } = this.desk.facts, t = (t) => t < 0 ? "…" : `${e} ${t}`;
		this.ends.replaceChildren(s("b", {}, t(this.start)), " → ", s("b", {}, t(this.end)), s("span", { class: "aside" }, this.end < 0 ? this.start < 0 ? "  Pick where it begins." : "  Pick where it ends." : "")), this.mark();
	}
	mark() {
		this.desk.map.marks.ends = [this.start, this.end], this.desk.map.redraw();
	}
	ask = u(async () => {
		if (!(this.start < 0 || this.end < 0)) try {
			let e = await this.desk.api.walk(this.start, this.end, this.steps, this.path);
			this.desk.map.marks.path = e.points, this.desk.map.redraw(), e.shown[0]?.cells ? this.strip.replaceChildren(ke(e)) : this.strip.replaceChildren(...e.shown.map((t, n) => s("figure", { role: "listitem" }, S(t, `step ${n + 1}`), s("figcaption", {}, _(e.places[n])))));
		} catch (e) {
			p(this.strip, e);
		}
	});
};
function ke({ shown: e, places: t }) {
	let n = (e[0]?.cells ?? []).map(([t], n) => {
		let r = e.map((e) => e.cells?.[n]?.[1]), i = (e) => e > 0 && typeof r[e] != "number" && r[e] !== r[e - 1];
		return s("tr", {}, s("th", {
			scope: "row",
			title: t
		}, t), ...r.map((e, t) => s("td", { class: i(t) ? "turns" : "" }, b(e))));
	});
	return s("table", { class: "film" }, s("thead", {}, s("tr", {}, s("th", {}), ...t.map((e) => s("th", {
		scope: "col",
		"data-step": ""
	}, _(e))))), s("tbody", {}, ...n));
}
// src/tabs.ts
var $ = 0, Ae = class {
	panels;
	element;
	tabs = /* @__PURE__ */ new Map();
	current;
	constructor(e) {
		this.panels = e, this.current = e[0];
		let t = $++ ? `-${$}` : "", n = s("div", {
			class: "tabs",
			role: "tablist",
			"aria-label": "Views",
			onkeydown: (e) => this.key(e)
		});
		for (let { id: r, title: i, element: a } of e) {
			let e = s("button", {
				type: "button",
				role: "tab",
				id: `tab-${r}${t}`,
				"aria-controls": `panel-${r}${t}`,
				onclick: () => this.open(r)
			}, i);
			this.tabs.set(r, e), n.append(e), a.id = `panel-${r}${t}`, a.classList.add("panel"), a.setAttribute("role", "tabpanel"), a.setAttribute("aria-labelledby", e.id);
		}
		this.element = s("aside", { class: "side" }, n, s("div", { class: "panels" }, ...e.map((e) => e.element))), this.mark();
	}
	open(e) {
		let t = this.panels.find((t) => t.id === e);
		t && t !== this.current && (this.current.close?.(), this.current = t, this.mark(), t.open?.());
	}
	get shown() {
		return this.current.id;
	}
	mark() {
		for (let { id: e, element: t } of this.panels) {
			let n = this.tabs.get(e), r = e === this.current.id;
			n.setAttribute("aria-selected", String(r)), n.tabIndex = r ? 0 : -1, t.hidden = !r;
		}
	}
	key(e) {
		let t = {
			ArrowLeft: -1,
			ArrowRight: 1
		}[e.key];
		if (!t) return;
		e.preventDefault();
		let n = this.panels.indexOf(this.current) + t + this.panels.length, r = this.panels[n % this.panels.length];
		this.open(r.id), this.tabs.get(r.id)?.focus();
	}
}, je = class {
	root;
	changed;
	system = matchMedia("(prefers-color-scheme: dark)");
	chosen = a("isthmus-theme");
	constructor(e, t) {
		this.root = e, this.changed = t, this.apply(), this.system.addEventListener("change", () => this.apply());
	}
	get now() {
		let e = document.body.dataset.jpThemeLight;
		return this.chosen ? this.chosen : e === void 0 ? this.system.matches ? "dark" : "light" : e === "false" ? "dark" : "light";
	}
	turn() {
		this.chosen = this.now === "dark" ? "light" : "dark", o("isthmus-theme", this.chosen), this.apply();
	}
	apply() {
		this.root.dataset.theme = this.now, this.changed();
	}
}, Me = 5e4, Ne = ["reconstruction error", "anomaly score"];
async function Pe(e, t) {
	e.classList.add("isthmus");
	let r = new n(t);
	r.askKey = (t) => g(e, t);
	let i = s("p", {
		class: "gone",
		role: "alert",
		hidden: !0
	});
	i.textContent = "The server does not answer. Is isthmus explore still running? The page goes on by itself when it is back.", e.replaceChildren(i, s("p", { class: "opening" }, "Opening the model …"));
	let a = [];
	for (r.onChange((e) => {
		if (i.hidden = e, e) for (let e of a.splice(0)) e();
	});;) try {
		let t = await r.facts(), n = await r.points();
		new Fe(e, r, i, t).show(n);
		return;
	} catch (t) {
		if (i.hidden) throw p(e, t), t;
		await new Promise((e) => a.push(e));
	}
}
var Fe = class {
	root;
	api;
	facts;
	map;
	picked = null;
	tabs;
	look;
	walk;
	panels;
	hover;
	legend;
	themes;
	chosen = s("div", {
		class: "chosen",
		role: "status"
	});
	stage = s("section", {
		class: "stage",
		"aria-label": "Map"
	});
	constructor(e, t, n, r) {
		this.root = e, this.api = t, this.facts = r, this.map = new ye({
			hover: (e, t) => this.hover.point(e, t),
			pick: (e, t) => this.chose(e, t),
			lasso: (e) => this.lassoed(e),
			probe: (e) => this.look.probed(e)
		}), this.look = new k(this, [
			["Walk from here", () => this.from("start")],
			["Walk to here", () => this.from("end")],
			["What is alike", () => this.open("search")]
		]), this.walk = new Oe(this), this.panels = [
			this.look,
			this.walk,
			new Te(this),
			new we(this),
			new De(this, () => this.look.code),
			new Se(this)
		], this.tabs = new Ae(this.panels), this.legend = new B(this, () => this.themes.now), this.hover = new ae(this, (e) => this.legend.said(e)), this.themes = new je(e, () => this.legend.repaint()), t.onChange((e) => {
			if (e) {
				this.legend.refresh();
				for (let e of this.panels) e.back?.();
			}
		}), this.stage.append(this.map.element, this.tools(), this.legend.element, this.hover.element, this.chosen, ...Ie(r)), e.replaceChildren(n, this.head(), s("main", {}, this.stage, this.tabs.element));
	}
	show({ x: e, y: t }) {
		this.map.show(e, t), this.map.paint(Le(e.length, this.themes.now === "dark" ? 150 : 110)), this.root.dataset.ready = "points", this.root.dataset.painter = this.map.painter.name;
		let { facts: n, map: r } = this, i = n.colours.find((e) => n.rows <= Me || !Ne.includes(e));
		i && (this.legend.choice.value = i, this.legend.refresh()), r.painter.name === "canvas" && this.note(r.stride > 1 ? `This browser has no WebGL: every ${r.stride}${r.stride === 2 ? "nd" : r.stride === 3 ? "rd" : "th"} of ${v(e.length)} points is drawn.` : "This browser has no WebGL: the map is drawn without it, a little slower.");
		for (let e of n.notes) this.note(e);
	}
	pick(e) {
		this.map.marks.picked = e, this.fetch(e);
	}
	open(e) {
		this.tabs.open(e);
	}
	fetch = u(async (e) => {
		try {
			this.picked = await this.api.row(e), this.map.reveal(e), this.map.redraw();
			for (let e of this.panels) e.picked?.(this.picked);
			this.root.dataset.picked = String(e);
		} catch (e) {
			this.open("look"), p(this.look.trouble, e);
		}
	});
	chose(e, t) {
		e < 0 || (t ? (this.picked && this.walk.setEnd("start", this.picked.row), this.walk.setEnd("end", e), this.open("walk")) : this.pick(e));
	}
	from(e) {
		this.picked && this.walk.setEnd(e, this.picked.row), this.open("walk");
	}
	lassoed(e) {
		let t = () => {
			this.chosen.replaceChildren(), this.map.highlight(null);
		};
		if (!e.length) {
			t();
			return;
		}
		let n = new Uint8Array(this.map.count);
		for (let t of e) n[t] = 1;
		this.legend.release(), this.map.highlight((e) => n[e] === 1), this.chosen.replaceChildren(s("b", {
			"data-figure": "chosen",
			"data-value": e.length
		}, x(e.length, this.facts.noun)), s("button", {
			type: "button",
			onclick: () => d(new Blob([`row\n${e.join("\n")}\n`], { type: "text/csv" }), "rows.csv")
		}, "Save their numbers"), s("button", {
			type: "button",
			class: "quiet",
			onclick: t
		}, "Clear"));
	}
	note(e) {
		let t = this.root.querySelector(".notes");
		if (!t) return;
		let n = s("p", {}, e, s("button", {
			type: "button",
			"aria-label": "Close this note",
			onclick: () => n.remove()
		}, "×"));
		t.append(n);
	}
	head() {
		let { facts: e } = this, t = `${x(e.rows, e.noun)}, a code of ${x(e.code_size, "number")}`, n = (e, t, n) => s("button", {
			type: "button",
			class: "flat",
			"aria-label": t,
			title: t,
			onclick: n
		}, M(e));
		return s("header", {}, s("h1", {}, e.title), s("p", { class: "what" }, t), s("label", { class: "by" }, s("span", {}, "colour by"), this.legend.choice), n("help", "What hands and keys do", () => h(this.root)), n("theme", "Light or dark", () => this.themes.turn()));
	}
	tools() {
		let e = (e, t) => [
			e,
			t,
			M(e)
		], t = (e, t, n) => s("button", {
			type: "button",
			"aria-label": t,
			title: t,
			onclick: n
		}, M(e)), { map: n } = this;
		return s("div", { class: "tools" }, f("Tool", [
			e("pan", "Move the map"),
			e("lasso", "Draw around rows"),
			e("decode", "Drag the decoder")
		], "pan", (e) => {
			n.use(e);
		}), s("div", {
			class: "choice",
			role: "group",
			"aria-label": "Zoom"
		}, t("plus", "Zoom in", () => n.zoom(1.5)), t("minus", "Zoom out", () => n.zoom(1 / 1.5)), t("fit", "Show all", () => n.fit())));
	}
};
function Ie({ map: e }) {
	return [
		s("p", { class: "axis across" }, e.axes[0]),
		s("p", { class: "axis up" }, e.axes[1]),
		s("div", {
			class: "notes",
			role: "status"
		})
	];
}
function Le(e, t) {
	return new Uint8Array(new Uint32Array(e).fill((4278190080 | t << 16 | t << 8 | t) >>> 0).buffer);
}
// src/widget.ts
var Re = 6e5, ze = class {
	model;
	asked = 0;
	waiting = /* @__PURE__ */ new Map();
	constructor(e) {
		this.model = e, e.on("msg:custom", this.hear);
	}
	close() {
		this.model.off("msg:custom", this.hear);
	}
	async send(e, t, n) {
		let r = this.asked++, i = n === void 0 ? [] : [await new Blob([n]).arrayBuffer()];
		return new Promise((t, n) => {
			let a = setTimeout(() => n(/* @__PURE__ */ Error("the kernel does not answer")), Re);
			this.waiting.set(r, (e) => {
				clearTimeout(a), t(e);
			}), this.model.send({
				id: r,
				path: e
			}, void 0, i);
		});
	}
	isThere() {
		return this.send("explore", "").then((e) => e.status < 400);
	}
	hear = ({ id: e, status: t, name: n }, r) => {
		let i = r[0], a = i ? i.buffer.slice(i.byteOffset, i.byteOffset + i.byteLength) : /* @__PURE__ */ new ArrayBuffer(0);
		this.waiting.get(e)?.({
			status: t,
			name: n,
			bytes: a
		}), this.waiting.delete(e);
	};
};
function Be({ model: e, el: t }) {
	let n = document.createElement("div");
	n.style.height = `${e.get("height")}px`, n.classList.add("framed"), t.append(n);
	let r = new ze(e);
	return Pe(n, r).catch(() => void 0), () => {
		r.close(), n.remove();
	};
}
var Ve = { render: Be };
export { Ve as default };
