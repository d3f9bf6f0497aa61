"use strict";
// Views of surfaces that turn. Panels share one canvas and one pose, so that they turn together.
(() => {
  const NO_VALUE = [217, 221, 226], CLAY = [195, 204, 214];
  // Of a mesh that has more faces than that, and that no graphics card draws, fewer are drawn while it moves: what lies in
  // one cell of a lattice, so many across the picture, is one vertex; not from so near that one would see it. All are
  // back so many milliseconds afterwards.
  const MANY = 40000, LATTICE = 64, NEAR = 4, REST = 250;
  const TYPES = {float32: Float32Array, int32: Int32Array, uint8: Uint8Array};

  // Numbers are deflated, in base64; of whole ones differences are stored.
  async function unpack(packed) {
    const bytes = Uint8Array.from(atob(packed.data), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const array = new TYPES[packed.type](await new Response(stream).arrayBuffer());
    if (packed.differences) for (let i = 1; i < array.length; i++) array[i] += array[i - 1];
    return array;
  }

  async function unpackAll(value) {
    if (Array.isArray(value)) return Promise.all(value.map(unpackAll));
    if (value === null || typeof value !== "object") return value;
    if (value.data !== undefined && TYPES[value.type]) return unpack(value);
    const keys = Object.keys(value), found = await Promise.all(keys.map((k) => unpackAll(value[k])));
    return Object.fromEntries(keys.map((k, i) => [k, found[i]]));
  }

  const VERTEX = `
    attribute vec3 tint;
    varying vec3 place, up, paint;
    varying vec2 at;
    void main() {
      mat4 model = modelViewMatrix;
      #ifdef USE_INSTANCING
        model = modelViewMatrix * instanceMatrix;
      #endif
      vec4 seen = model * vec4(position, 1.0);
      place = seen.xyz; up = mat3(model) * normal; paint = tint; at = uv;
      gl_Position = projectionMatrix * seen;
    }`;
  // Smooth normals with a share of the faces' own; what is turned away is lit on the side that shows.
  const SURFACE = `
    uniform float facets, shade;
    #ifdef PICTURE
      uniform sampler2D picture;
    #endif
    varying vec3 place, up, paint;
    varying vec2 at;
    void main() {
      vec3 flatUp = normalize(cross(dFdx(place), dFdy(place)));
      vec3 smoothUp = length(up) > 0.0 ? normalize(up) : flatUp;
      if (dot(smoothUp, flatUp) < 0.0) smoothUp = -smoothUp;
      vec3 n = normalize(mix(smoothUp, flatUp, facets));
      float light = max(dot(n, normalize(vec3(-0.4, 0.55, 0.75))), 0.0);
      vec3 color = paint;
      #ifdef PICTURE
        color = texture2D(picture, at).rgb;
      #endif
      gl_FragColor = vec4(color * mix(1.0, 0.62 + 0.44 * light, shade), 1.0);
    }`;

  function material(picture, closed) {
    return new THREE.ShaderMaterial({
      vertexShader: VERTEX, fragmentShader: SURFACE, side: closed ? THREE.FrontSide : THREE.DoubleSide,
      defines: picture ? {PICTURE: 1} : {},
      uniforms: {facets: {value: picture ? 0 : 0.25}, shade: {value: picture ? 0.45 : 1}, ...(picture ? {picture: {value: picture}} : {})},
    });
  }

  function vertexNormals(positions, faces) {
    const normals = new Float32Array(positions.length);
    for (let f = 0; f < faces.length; f += 3) {
      const a = 3 * faces[f], b = 3 * faces[f + 1], c = 3 * faces[f + 2];
      const ux = positions[b] - positions[a], uy = positions[b + 1] - positions[a + 1], uz = positions[b + 2] - positions[a + 2];
      const vx = positions[c] - positions[a], vy = positions[c + 1] - positions[a + 1], vz = positions[c + 2] - positions[a + 2];
      const nx = uy * vz - uz * vy, ny = uz * vx - ux * vz, nz = ux * vy - uy * vx;
      for (const k of [a, b, c]) { normals[k] += nx; normals[k + 1] += ny; normals[k + 2] += nz; }
    }
    return normals;
  }

  // Colour of each element at a step, bytes [3 n].
  function paintOf(legend, field, step, count) {
    const paint = new Uint8Array(3 * count);
    const set = (i, rgb, k) => { paint[3 * i] = rgb[k]; paint[3 * i + 1] = rgb[k + 1]; paint[3 * i + 2] = rgb[k + 2]; };
    if (!field) {
      for (let i = 0; i < count; i++) set(i, CLAY, 0);
    } else if (legend.kind === "color") {
      paint.set(field.values.subarray(3 * step * count, 3 * (step + 1) * count));
    } else if (legend.kind === "label") {
      for (let i = 0; i < count; i++) {
        const c = field.values[step * count + i];
        if (c < 0) set(i, NO_VALUE, 0); else set(i, legend.colors, 3 * c);
      }
    } else {
      const [low, high] = legend.limits, size = legend.colors.length / 3 - 1;
      for (let i = 0; i < count; i++) {
        const v = field.values[step * count + i];
        if (Number.isNaN(v)) { set(i, NO_VALUE, 0); continue; }
        const share = high > low ? (v - low) / (high - low) : 0.5;
        set(i, legend.colors, 3 * Math.round(size * Math.min(1, Math.max(0, share))));
      }
    }
    return paint;
  }

  class MeshPanel {
    constructor(data) {
      this.data = data;
      this.group = new THREE.Group();
      const {positions, faces} = data.mesh;
      this.normals = vertexNormals(positions, faces);
      this.shared = new THREE.BufferGeometry();
      this.shared.setAttribute("position", new THREE.BufferAttribute(positions, 3));
      this.shared.setAttribute("normal", new THREE.BufferAttribute(this.normals, 3));
      this.index = new THREE.BufferAttribute(new Uint32Array(faces), 1);
      this.shared.setIndex(this.index);
      this.body = new THREE.Mesh(this.shared, material(null, data.mesh.closed));
      this.group.add(this.body);
      this.counts = {vertices: positions.length / 3, faces: faces.length / 3};
    }

    // Corners of its own for each face, where a face has one colour.
    get apart() {
      if (!this.corners) {
        const {positions, faces} = this.data.mesh;
        this.corners = new THREE.BufferGeometry();
        for (const [name, from] of [["position", positions], ["normal", this.normals]]) {
          const to = new Float32Array(3 * faces.length);
          for (let i = 0; i < faces.length; i++) for (let k = 0; k < 3; k++) to[3 * i + k] = from[3 * faces[i] + k];
          this.corners.setAttribute(name, new THREE.BufferAttribute(to, 3));
        }
      }
      return this.corners;
    }

    show(legend, field, step) {
      const at = field ? field.at : "vertices", {faces} = this.data.mesh;
      const paint = paintOf(legend, field, step, this.counts[at]);
      const apart = field && (at === "faces" || legend.kind === "label");
      let tint = paint;
      if (apart) {
        tint = new Uint8Array(3 * faces.length);
        for (let f = 0; f < faces.length; f += 3) {
          let from = f / 3;
          if (at === "vertices") {  // the label of most corners, else of the first
            const value = (k) => field.values[step * this.counts.vertices + faces[f + k]];
            from = value(1) === value(2) ? faces[f + 1] : faces[f];
          }
          for (let k = 0; k < 9; k++) tint[3 * f + k] = paint[3 * from + (k % 3)];
        }
      }
      this.body.geometry = apart ? this.apart : this.shared;
      this.body.geometry.setAttribute("tint", new THREE.BufferAttribute(tint, 3, true));
    }

    // Faces between cells of the lattice, between the first vertices in them: as corners of all faces.
    get few() {
      if (!this.kept) {
        const {positions, faces} = this.data.mesh, cells = new Map(), kept = [];
        const first = (corner) => {
          const v = 3 * faces[corner], [x, y, z] = [0, 1, 2].map((k) => Math.floor((positions[v + k] + 1) * LATTICE / 2));
          const cell = (x * 2 * LATTICE + y) * 2 * LATTICE + z;
          if (!cells.has(cell)) cells.set(cell, corner);
          return cells.get(cell);
        };
        for (let f = 0; f < faces.length; f += 3) {
          const [a, b, c] = [first(f), first(f + 1), first(f + 2)];
          if (a !== b && b !== c && c !== a) kept.push(a, b, c);
        }
        this.kept = {
          corners: new THREE.BufferAttribute(new Uint32Array(kept), 1),
          shared: new THREE.BufferAttribute(new Uint32Array(kept.map((corner) => faces[corner])), 1),
        };
      }
      return this.kept;
    }

    // Draw few faces, or all.
    thin(wanted) {
      if (this.counts.faces <= MANY) return;
      const apart = this.body.geometry === this.corners, all = apart ? null : this.index;
      this.body.geometry.setIndex(wanted ? this.few[apart ? "corners" : "shared"] : all);
    }

    // Element under a ray, and its place in words.
    hit(ray, field) {
      const found = [];
      this.body.raycast(ray, found);
      if (!found.length) return null;
      const {faces} = this.data.mesh;
      const first = found.reduce((a, b) => (a.distance <= b.distance ? a : b));
      const face = first.faceIndex;
      if (field && field.at === "faces") return {at: "faces", element: face, text: `face ${face}`};
      const local = this.group.worldToLocal(first.point.clone()), {positions} = this.data.mesh;
      let best = -1, least = Infinity;
      for (let k = 0; k < 3; k++) {
        const v = faces[3 * face + k];
        const gap = Math.hypot(...[0, 1, 2].map((j) => positions[3 * v + j] - local.getComponent(j)));
        if (gap < least) { least = gap; best = v; }
      }
      return {at: "vertices", element: best, text: `vertex ${best}`};
    }
  }

  class GlobePanel {
    constructor(data) {
      this.data = data;
      this.group = new THREE.Group();
      const {rows, columns, points} = data.globe;
      this.counts = {points};
      this.pixels = new Uint8Array(4 * rows * columns).fill(255);
      this.picture = new THREE.DataTexture(this.pixels, columns, rows, THREE.RGBAFormat);
      this.picture.wrapS = THREE.RepeatWrapping;
      this.picture.minFilter = this.picture.magFilter = THREE.NearestFilter;
      const east = 180, north = 90, place = [], uv = [], index = [];
      for (let j = 0; j <= north; j++) for (let i = 0; i <= east; i++) {
        const lat = Math.PI * (0.5 - j / north), lon = Math.PI * (2 * i / east - 1);
        place.push(Math.cos(lat) * Math.cos(lon), Math.cos(lat) * Math.sin(lon), Math.sin(lat));
        uv.push(i / east, j / north);
      }
      for (let j = 0; j < north; j++) for (let i = 0; i < east; i++) {
        const a = j * (east + 1) + i, b = a + east + 1;
        index.push(a, b, a + 1, b, b + 1, a + 1);
      }
      const ball = new THREE.BufferGeometry();
      ball.setAttribute("position", new THREE.Float32BufferAttribute(place, 3));
      ball.setAttribute("normal", new THREE.Float32BufferAttribute(place, 3));
      ball.setAttribute("uv", new THREE.Float32BufferAttribute(uv, 2));
      ball.setIndex(index);
      this.body = new THREE.Mesh(ball, material(this.picture, true));
      this.group.add(this.body);
    }

    thin() {}

    show(legend, field, step) {
      const paint = paintOf(legend, field, step, this.counts.points), {index} = this.data.globe;
      for (let p = 0; p < index.length; p++) {
        for (let k = 0; k < 3; k++) this.pixels[4 * p + k] = index[p] < 0 ? NO_VALUE[k] : paint[3 * index[p] + k];
      }
      this.picture.needsUpdate = true;
    }

    hit(ray) {
      const place = ray.ray.intersectSphere(new THREE.Sphere(new THREE.Vector3(), 1), new THREE.Vector3());
      if (!place) return null;
      this.group.worldToLocal(place);
      const lat = Math.asin(Math.min(1, Math.max(-1, place.z))), lon = Math.atan2(place.y, place.x);
      const {rows, columns, index} = this.data.globe;
      const row = Math.min(rows - 1, Math.floor((0.5 - lat / Math.PI) * rows));
      const column = Math.min(columns - 1, Math.floor((lon / Math.PI + 1) / 2 * columns));
      const text = `${degrees(lat, "NS")} ${degrees(lon, "EW")}`;
      return {at: "points", element: index[row * columns + column], text};
    }
  }

  const degrees = (angle, sides) => `${Math.abs(angle * 180 / Math.PI).toFixed(1)}\u00b0${sides[angle < 0 ? 1 : 0]}`;
  const written = (value) => (Number.isNaN(value) ? "no value" : String(Number(value.toPrecision(5))));

  function arrowShape() {
    const profile = [[0, 0], [0.05, 0], [0.05, 0.6], [0.15, 0.6], [0, 1]].map(([r, h]) => new THREE.Vector2(r, h));
    return new THREE.LatheGeometry(profile, 7);
  }

  function arrowsOf(set, step) {
    const count = set.start.length / 3, up = new THREE.Vector3(0, 1, 0);
    const geometry = arrowShape();
    const arrows = new THREE.InstancedMesh(geometry, material(null, true), count);
    const along = new THREE.Vector3(), turn = new THREE.Quaternion(), matrix = new THREE.Matrix4();
    const part = (array, i) => [0, 1, 2].map((k) => array[3 * (step * count + i) + k]);
    for (let i = 0; i < count; i++) {
      along.set(...part(set.along, i));
      const length = along.length();
      if (length > 0) turn.setFromUnitVectors(up, along.clone().divideScalar(length));
      const thick = set.thick * (0.35 + 0.65 * Math.min(1, length / set.thick));
      const start = new THREE.Vector3(...[0, 1, 2].map((k) => set.start[3 * i + k]));
      arrows.setMatrixAt(i, matrix.compose(start, turn, length > 0 ? new THREE.Vector3(thick, length, thick) : along));
    }
    const tint = set.colors.slice(3 * step * count, 3 * (step + 1) * count);
    geometry.setAttribute("tint", new THREE.InstancedBufferAttribute(tint, 3, true));
    arrows.frustumCulled = false;
    return arrows;
  }

  function linesOf(set) {
    const geometry = new THREE.BufferGeometry();
    geometry.setAttribute("position", new THREE.BufferAttribute(set.ends, 3));
    const paint = new THREE.LineBasicMaterial({color: set.color, transparent: true, opacity: set.opacity});
    return new THREE.LineSegments(geometry, paint);
  }

  // Whether a graphics card draws: without one smooth edges take five times as long.
  function fast() {
    const gl = document.createElement("canvas").getContext("webgl2", {failIfMajorPerformanceCaveat: true});
    const about = gl && gl.getExtension("WEBGL_debug_renderer_info");
    return gl !== null && !(about && /swiftshader|llvmpipe|softpipe|software|basic render/i.test(
      gl.getParameter(about.UNMASKED_RENDERER_WEBGL)));
  }

  function make(tag, parent, name, text) {
    const element = document.createElement(tag);
    if (name) element.className = name;
    if (text !== undefined) element.textContent = text;  // never markup: names come from files
    if (parent) parent.append(element);
    return element;
  }

  class View {
    constructor(root, data) {
      this.root = root; this.data = data; this.field = data.first; this.step = 0;
      const bar = make("div", root, "bar");
      if (data.title) make("b", bar, "", data.title);
      if (data.fields.length > 1) {
        this.choice = make("select", bar);
        this.choice.setAttribute("aria-label", "field");
        data.fields.forEach((f, i) => { make("option", this.choice, "", f.name).value = i; });
        this.choice.value = data.first;
        this.choice.oninput = () => { this.field = Number(this.choice.value); this.paint(); };
      }
      this.time = make("label", bar);
      this.slider = make("input", this.time);
      this.slider.type = "range"; this.slider.min = 0; this.slider.value = 0;
      this.slider.setAttribute("aria-label", "step");
      this.stepName = make("span", this.time);
      this.slider.oninput = () => { this.step = Number(this.slider.value); this.paint(); };
      make("span", bar, "hint", "drag: turn \u00b7 wheel: zoom \u00b7 shift-drag: move \u00b7 double click: back");
      this.stage = make("div", root, "stage");
      this.canvas = make("canvas", this.stage);
      this.canvas.tabIndex = 0;
      this.canvas.setAttribute("aria-label", `picture that turns: ${data.title}`);
      this.tip = make("div", this.stage, "tip");
      this.tip.hidden = true;
      this.legend = make("ul", root, "legend");
      this.card = fast();
      this.renderer = new THREE.WebGLRenderer({canvas: this.canvas, antialias: this.card});
      this.renderer.setPixelRatio(Math.min(window.devicePixelRatio || 1, 2));
      this.renderer.setClearColor(0xffffff);
      this.renderer.autoClear = false;
      this.camera = new THREE.PerspectiveCamera(28, 1, 0.05, 100);
      this.globe = data.panels.some((p) => p.globe);
      this.panels = data.panels.map((p) => {
        const panel = p.globe ? new GlobePanel(p) : new MeshPanel(p);
        panel.scene = new THREE.Scene();
        panel.scene.add(panel.group);
        for (const set of p.lines) panel.group.add(linesOf(set));
        for (const set of p.arrows) panel.group.add(arrowsOf(set, 0));
        panel.vectors = new THREE.Group();
        panel.group.add(panel.vectors);
        panel.label = make("div", this.stage, "name", p.title);
        if (p.note) make("small", panel.label, "", p.note);
        return panel;
      });
      this.reset();
      this.listen();
      new ResizeObserver(() => this.draw()).observe(this.stage);
      this.paint();
    }

    reset() {
      const r = this.data.pose, matrix = new THREE.Matrix4();
      matrix.set(r[0], r[1], r[2], 0, r[3], r[4], r[5], 0, r[6], r[7], r[8], 0, 0, 0, 0, 1);
      this.pose = new THREE.Quaternion().setFromRotationMatrix(matrix);
      this.zoom = 1; this.shift = new THREE.Vector2();
      this.later();
    }

    // Angles to the right and down, radians. A globe keeps its north up.
    turn(right, down) {
      const x = new THREE.Vector3(1, 0, 0), y = new THREE.Vector3(0, 1, 0), q = new THREE.Quaternion();
      if (this.globe) {
        this.pose.multiply(q.setFromAxisAngle(new THREE.Vector3(0, 0, 1), right));
        const north = new THREE.Vector3(0, 0, 1).applyQuaternion(this.pose);
        const tilt = Math.atan2(north.z, north.y);  // of the north towards the eye
        down = Math.min(Math.PI / 2 - tilt, Math.max(-Math.PI / 2 - tilt, down));
      } else {
        this.pose.premultiply(q.setFromAxisAngle(y, right));
      }
      this.pose.premultiply(q.setFromAxisAngle(x, down)).normalize();
      this.move();
    }

    move() {
      if (!this.card) {
        for (const panel of this.panels) panel.thin(this.zoom < NEAR);
        clearTimeout(this.resting);
        this.resting = setTimeout(() => this.rest(), REST);
      }
      this.later();
    }

    rest() {
      if (!this.resting) return;
      clearTimeout(this.resting);
      this.resting = 0;
      for (const panel of this.panels) panel.thin(false);
      this.later();
    }

    listen() {
      const held = new Map();
      const c = this.canvas;
      c.addEventListener("pointerdown", (e) => {
        c.setPointerCapture(e.pointerId);
        held.set(e.pointerId, [e.clientX, e.clientY]);
        c.classList.add("held");
        this.tip.hidden = true;
      });
      c.addEventListener("pointermove", (e) => {
        const before = held.get(e.pointerId);
        if (!before) { this.point(e); return; }
        const [dx, dy] = [e.clientX - before[0], e.clientY - before[1]], size = this.sizeOf();
        const others = [...held].filter(([id]) => id !== e.pointerId).map(([, at]) => at);
        if (others.length) {  // two fingers: zoom
          const gap = (at) => Math.hypot(at[0] - others[0][0], at[1] - others[0][1]);
          this.zoomBy(gap([e.clientX, e.clientY]) / Math.max(gap(before), 1));
        } else if (e.shiftKey || e.buttons & 6) {
          this.shift.x += 2 * dx / size / this.zoom; this.shift.y -= 2 * dy / size / this.zoom;
          this.move();
        } else {
          this.turn(2.6 * dx / size / this.zoomed, 2.6 * dy / size / this.zoomed);
        }
        held.set(e.pointerId, [e.clientX, e.clientY]);
      });
      const release = (e) => { held.delete(e.pointerId); c.classList.toggle("held", held.size > 0); };
      c.addEventListener("pointerup", release);
      c.addEventListener("pointercancel", release);
      c.addEventListener("pointerleave", () => { this.tip.hidden = true; });
      c.addEventListener("contextmenu", (e) => e.preventDefault());
      c.addEventListener("dblclick", () => this.reset());
      c.addEventListener("wheel", (e) => { e.preventDefault(); this.zoomBy(Math.exp(-0.0012 * e.deltaY)); }, {passive: false});
      c.addEventListener("keydown", (e) => {
        const turns = {ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1]};
        if (turns[e.key]) { e.preventDefault(); this.turn(...turns[e.key]); }
        if (e.key === "+" || e.key === "-") this.zoomBy(e.key === "+" ? 1.15 : 1 / 1.15);
      });
    }

    // A globe that is near turns by less.
    get zoomed() { return this.globe ? Math.max(1, this.zoom) : 1; }

    zoomBy(factor) { this.zoom = Math.min(40, Math.max(0.3, this.zoom * factor)); this.move(); }

    sizeOf() { const [, , w, h] = this.boxes()[0]; return Math.max(50, Math.min(w, h)); }

    // Left, top, width, height of each panel, below its title.
    boxes() {
      const titles = this.data.panels.some((p) => p.note) ? 40 : this.data.panels.some((p) => p.title) ? 22 : 0;
      const w = this.stage.clientWidth, h = this.stage.clientHeight, n = this.panels.length;
      let columns = 1, best = 0;
      for (let c = 1; c <= n; c++) {
        const side = Math.min(w / c, h / Math.ceil(n / c));
        if (side > best) { best = side; columns = c; }
      }
      const rows = Math.ceil(n / columns);
      return this.panels.map((_, i) => [
        i % columns * w / columns, Math.floor(i / columns) * h / rows + titles, w / columns, h / rows - titles, titles,
      ]);
    }

    later() {
      if (!this.due) { this.due = true; requestAnimationFrame(() => { this.due = false; this.draw(); }); }
    }

    aim(w, h) {
      const half = Math.tan(this.camera.fov * Math.PI / 360);
      const away = 1.04 / Math.sin(Math.atan(half * Math.min(1, w / h)));
      this.camera.aspect = w / h;
      // Near things are magnified by the lens, so that the eye never enters them.
      this.camera.zoom = this.zoom;
      this.camera.position.set(-this.shift.x, -this.shift.y, away);
      this.camera.near = away - 1.6; this.camera.far = away + 1.6;
      this.camera.updateProjectionMatrix();
      this.camera.updateMatrixWorld();
    }

    draw() {
      const w = this.stage.clientWidth, h = this.stage.clientHeight;
      if (!w || !h) return;
      if (w !== this.width || h !== this.height) {
        this.renderer.setSize(w, h, false);
        this.width = w; this.height = h;
      }
      this.renderer.setScissorTest(false);
      this.renderer.clear();
      this.renderer.setScissorTest(true);
      this.boxes().forEach(([left, top, pw, ph, titles], i) => {
        const panel = this.panels[i];
        panel.group.quaternion.copy(this.pose);
        this.aim(pw, ph);
        this.renderer.setViewport(left, h - top - ph, pw, ph);
        this.renderer.setScissor(left, h - top - ph, pw, ph);
        this.renderer.render(panel.scene, this.camera);
        Object.assign(panel.label.style, {left: `${left}px`, top: `${top - titles + 2}px`, width: `${pw}px`});
      });
    }

    paint() {
      this.rest();
      const legend = this.data.fields[this.field];
      const steps = legend ? legend.steps : [];
      this.time.hidden = steps.length < 2;
      this.slider.max = Math.max(0, steps.length - 1);
      const step = this.step = Math.min(this.step, this.slider.max);
      this.slider.value = step;
      this.stepName.textContent = steps[step] || "";
      for (const panel of this.panels) {
        const field = this.fieldOf(panel);
        panel.show(legend, field, step);
        panel.vectors.clear();
        if (field && field.arrows) panel.vectors.add(arrowsOf(field.arrows, step));
      }
      this.explain(legend);
      this.later();
    }

    fieldOf(panel) { return panel.data.fields[this.field] || null; }

    // Legend of names, or colour bar with the unit.
    explain(legend) {
      this.legend.replaceChildren();
      this.legend.hidden = !legend || legend.kind === "color";
      if (this.legend.hidden) return;
      const swatch = (rgb, text) => {
        const item = make("li", this.legend);
        make("i", item).style.background = `rgb(${rgb.join(",")})`;
        item.append(text);
      };
      if (legend.kind === "label") {
        legend.names.forEach((name, k) => swatch([...legend.colors.slice(3 * k, 3 * k + 3)], name));
      } else {
        make("li", this.legend, "", legend.unit ? `${legend.name}, ${legend.unit}` : legend.name);
        const item = make("li", this.legend, "scale"), strip = make("div", item), ends = make("p", item);
        const stops = [];
        for (let k = 0; k <= 16; k++) {
          const at = 3 * Math.round(k / 16 * (legend.colors.length / 3 - 1));
          stops.push(`rgb(${legend.colors[at]},${legend.colors[at + 1]},${legend.colors[at + 2]})`);
        }
        strip.style.background = `linear-gradient(to right, ${stops.join(",")})`;
        const [low, high] = legend.limits;
        [low, (low + high) / 2, high].forEach((v) => make("span", ends, "", written(v)));
      }
      if (legend.missing) swatch(NO_VALUE, "no value");
    }

    // Values under the pointer.
    point(e) {
      if (this.looking) return;
      this.looking = true;
      requestAnimationFrame(() => { this.looking = false; this.look(e.clientX, e.clientY); });
    }

    look(x, y) {
      const edge = this.canvas.getBoundingClientRect();
      const at = [x - edge.left, y - edge.top];
      this.tip.hidden = true;
      this.rest();
      this.boxes().forEach(([left, top, w, h], i) => {
        const inside = at[0] >= left && at[0] < left + w && at[1] >= top && at[1] < top + h;
        if (!inside) return;
        this.aim(w, h);
        const ray = new THREE.Raycaster();
        ray.setFromCamera({x: 2 * (at[0] - left) / w - 1, y: 1 - 2 * (at[1] - top) / h}, this.camera);
        const panel = this.panels[i];
        panel.group.updateMatrixWorld();
        const found = panel.hit(ray, this.fieldOf(panel));
        if (!found) return;
        this.tip.textContent = [found.text, ...this.values(panel, found)].join("\n");
        this.tip.hidden = false;
        const wide = this.tip.offsetWidth, tall = this.tip.offsetHeight;
        this.tip.style.left = `${Math.max(0, Math.min(at[0] + 14, edge.width - wide))}px`;
        this.tip.style.top = `${at[1] + 14 + tall > edge.height ? at[1] - tall - 8 : at[1] + 14}px`;
      });
    }

    // What all fields have at an element, the one that is shown first.
    values(panel, {at, element}) {
      if (element < 0) return ["no value"];
      const order = [this.field, ...this.data.fields.keys()].filter((k, i, all) => all.indexOf(k) === i);
      return order.filter((k) => panel.data.fields[k] && panel.data.fields[k].at === at).slice(0, 8).flatMap((k) => {
        const legend = this.data.fields[k], {values} = panel.data.fields[k];
        const step = Math.min(this.step, Math.max(0, legend.steps.length - 1));
        const value = values[step * panel.counts[at] + element];
        if (legend.kind === "color") return [];
        if (legend.kind === "label") return [`${legend.name}: ${value < 0 ? "no value" : legend.names[value]}`];
        return [`${legend.name}: ${written(value)}${Number.isNaN(value) || !legend.unit ? "" : ` ${legend.unit}`}`];
      });
    }
  }

  async function start(root) {
    const data = JSON.parse(root.querySelector("script").textContent);
    try {
      return new View(root, await unpackAll(data));
    } catch (error) {
      make("p", root, "problem", `This picture needs a browser with WebGL and DecompressionStream (${error.message}).`);
      throw error;
    }
  }

  // Views of the page, in its order, once they are drawn.
  window.meshconvViews = Promise.all([...document.querySelectorAll(".view")].map(start));
})();
