"use strict";
// Sends a dropped file to the service, shows what it says, and draws the mesh that comes back.
const $ = (id) => document.getElementById(id);
let about = { takes: "meshes", suffixes: [], megabytes: 0 };

function say(text, bad) {
  $("status").textContent = text;
  $("status").className = bad ? "bad" : "";
}

async function ask(file, format) {
  const answer = await fetch(`/predict/${encodeURIComponent(file.name)}?format=${format}`, { method: "PUT", body: file });
  if (!answer.ok) throw new Error((await answer.text()).trim());
  return answer;
}

async function send(file) {
  say(`${file.name}: predicting`);
  $("table").replaceChildren();
  $("save").replaceChildren();
  try {
    const form = about.takes === "maps" ? "netcdf" : "ply";
    const whole = await (await ask(file, form)).arrayBuffer();
    offer(whole, file.name.replace(/\.[^.]*$/, "") + (form === "ply" ? "_predicted.ply" : "_predicted.nc"));
    if (form === "netcdf") return say(`${file.name}: the prediction is ready`);
    const mesh = readPly(whole);
    const answer = await (await ask(file, "json")).json();
    show(mesh);
    tell(answer, mesh);
    say(`${file.name}: ${mesh.positions.length / 3} vertices, ${mesh.faces.length / 3} faces`);
  } catch (error) {
    say(error.message, true);
  }
}

function offer(content, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content]));
  link.download = name;
  link.textContent = `Save ${name}`;
  $("save").append(link);
}

// Rows of the table: probabilities of a mesh's classes, or counts of its elements with their colours.
function tell(answer, mesh) {
  const values = answer.probabilities || answer.classes || {};
  for (const [name, value] of Object.entries(values).sort((a, b) => b[1] - a[1])) {
    const row = $("table").insertRow();
    const cell = row.insertCell();
    const colour = mesh.colours && mesh.names && mesh.names.get(about.labels[about.columns.indexOf(name)]);
    if (colour) {
      const swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.background = `rgb(${colour})`;
      cell.append(swatch);
    }
    cell.append(name);
    row.insertCell().textContent = Number.isInteger(value) ? value : value.toFixed(3);
  }
}

const SIZES = { char: 1, uchar: 1, short: 2, ushort: 2, int: 4, uint: 4, float: 4, double: 8 };
const GET = { char: "getInt8", uchar: "getUint8", short: "getInt16", ushort: "getUint16", int: "getInt32",
              uint: "getUint32", float: "getFloat32", double: "getFloat64" };

// The binary PLY that the service writes.
function readPly(buffer) {
  const head = new TextDecoder("ascii").decode(buffer.slice(0, 65536));
  const end = head.indexOf("end_header\n") + 11;
  const elements = [];
  for (const line of head.slice(0, end).split("\n")) {
    const words = line.split(" ");
    if (words[0] === "element") elements.push({ name: words[1], count: Number(words[2]), fields: [] });
    if (words[0] === "property" && words[1] === "list") elements.at(-1).fields.push({ list: words[2], type: words[3] });
    else if (words[0] === "property") elements.at(-1).fields.push({ type: words[1], name: words[2] });
  }
  const view = new DataView(buffer);
  let at = end;
  const read = (type) => { const value = view[GET[type]](at, true); at += SIZES[type]; return value; };
  const table = {};
  for (const { name, count, fields } of elements) {
    const columns = {};
    for (const field of fields) columns[field.name || "corners"] = [];
    for (let k = 0; k < count; k++)
      for (const field of fields) {
        if (!field.list) columns[field.name].push(read(field.type));
        else for (let n = read(field.list); n > 0; n--) columns.corners.push(read(field.type));
      }
    table[name] = columns;
  }
  const { x, y, z } = table.vertex;
  const positions = new Float32Array(x.length * 3);
  x.forEach((_, k) => positions.set([x[k], y[k], z[k]], 3 * k));
  const names = new Map();
  const on = table.vertex.red ? table.vertex : table.face.red ? table.face : null;
  if (on && on.label) on.label.forEach((label, k) => names.set(label, [on.red[k], on.green[k], on.blue[k]]));
  return { positions, faces: table.face.corners, colours: on, perFace: on === table.face, names };
}

// Triangles with flat normals, turned by dragging, in plain WebGL.
const view = { turn: [-0.4, 0.6], zoom: 1, count: 0 };

function show(mesh) {
  const { positions, faces, colours, perFace } = mesh;
  const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
  positions.forEach((v, k) => { low[k % 3] = Math.min(low[k % 3], v); high[k % 3] = Math.max(high[k % 3], v); });
  const size = Math.max(...high.map((v, k) => v - low[k])) || 1;
  const data = new Float32Array(faces.length * 9);
  for (let f = 0; f < faces.length; f += 3) {
    const corner = [0, 1, 2].map((k) => [0, 1, 2].map((a) => (positions[3 * faces[f + k] + a] - (low[a] + high[a]) / 2) / size));
    const [u, v] = [1, 2].map((k) => corner[k].map((c, a) => c - corner[0][a]));
    let n = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
    const length = Math.hypot(...n) || 1;
    n = n.map((c) => c / length);
    for (let k = 0; k < 3; k++) {
      const at = perFace ? f / 3 : faces[f + k];
      const colour = colours ? [colours.red[at], colours.green[at], colours.blue[at]].map((c) => c / 255) : [0.7, 0.7, 0.7];
      data.set([...corner[k], ...n, ...colour], 9 * (f + k));
    }
  }
  const gl = context();
  gl.bindBuffer(gl.ARRAY_BUFFER, view.buffer);
  gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
  view.count = faces.length;
  draw();
}

function context() {
  if (view.gl) return view.gl;
  const gl = $("view").getContext("webgl", { antialias: true, preserveDrawingBuffer: true });
  if (!gl) throw new Error("this browser has no WebGL; the result can be saved");
  const program = gl.createProgram();
  for (const [type, source] of [
    [gl.VERTEX_SHADER, `attribute vec3 place, normal, colour; uniform mat3 turn; uniform vec2 scale; varying vec3 shade;
      void main() { vec3 p = turn * place; vec3 n = turn * normal;
        shade = colour * (0.35 + 0.65 * abs(dot(n, normalize(vec3(0.3, 0.5, 1.0)))));
        gl_Position = vec4(p.xy * scale, -0.4 * p.z, 1.0); }`],
    [gl.FRAGMENT_SHADER, "precision mediump float; varying vec3 shade; void main() { gl_FragColor = vec4(shade, 1.0); }"],
  ]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  gl.useProgram(program);
  view.buffer = gl.createBuffer();
  gl.bindBuffer(gl.ARRAY_BUFFER, view.buffer);
  ["place", "normal", "colour"].forEach((name, k) => {
    const at = gl.getAttribLocation(program, name);
    gl.enableVertexAttribArray(at);
    gl.vertexAttribPointer(at, 3, gl.FLOAT, false, 36, 12 * k);
  });
  gl.enable(gl.DEPTH_TEST);
  return Object.assign(view, { gl, program }).gl;
}

function draw() {
  if (!view.gl) return;
  const { gl, program } = view, canvas = $("view");
  canvas.width = canvas.clientWidth * devicePixelRatio;
  canvas.height = canvas.clientHeight * devicePixelRatio;
  gl.viewport(0, 0, canvas.width, canvas.height);
  gl.clearColor(0, 0, 0, 0);
  gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
  const [a, b] = view.turn, [ca, sa, cb, sb] = [Math.cos(a), Math.sin(a), Math.cos(b), Math.sin(b)];
  gl.uniformMatrix3fv(gl.getUniformLocation(program, "turn"), false, [cb, sa * sb, -ca * sb, 0, ca, sa, sb, -sa * cb, ca * cb]);
  const least = Math.min(canvas.width, canvas.height), s = 1.5 * view.zoom;
  gl.uniform2f(gl.getUniformLocation(program, "scale"), s * least / canvas.width, s * least / canvas.height);
  gl.drawArrays(gl.TRIANGLES, 0, view.count);
}

const canvas = $("view"), drop = $("drop");
canvas.addEventListener("pointermove", (event) => {
  if (!event.buttons) return;
  view.turn = [view.turn[0] + event.movementY / 150, view.turn[1] + event.movementX / 150];
  draw();
});
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  view.zoom *= Math.exp(-event.deltaY / 700);
  draw();
}, { passive: false });
addEventListener("resize", draw);
for (const name of ["dragover", "dragleave", "drop"])
  drop.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files[0]) send(event.dataTransfer.files[0]);
  });
$("file").addEventListener("change", (event) => event.target.files[0] && send(event.target.files[0]));
fetch("/info").then((answer) => answer.json()).then((info) => {
  about = info;
  $("about").textContent = `${info.task} of ${info.takes}; files of at most ${info.megabytes} MB that end in ${info.suffixes.join(", ")}`;
});
