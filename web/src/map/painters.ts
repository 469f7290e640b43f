import { type Camera, toScreen } from "./camera";

/** Draws points; there are two, for browsers with and without WebGL. */
export interface Painter {
  readonly name: "webgl" | "canvas";
  /** How many points it can draw. */
  readonly most: number;
  /** Take points, of which every ``stride``-th is drawn. */
  points(x: Float32Array, y: Float32Array, stride: number): void;
  colours(rgba: Uint8Array<ArrayBuffer>): void;
  /** Draw the points, or every so many-th of them; WebGL allows up to the 31st. */
  draw(camera: Camera, size: number, alpha: number, every: number): void;
}

const VERTEX = `
attribute vec2 place;
attribute vec4 colour;
uniform vec2 middle, half_size;
uniform float scale, size, alpha;
varying vec4 shade;
varying float across;
void main() {
  gl_Position = vec4((place - middle) * scale / half_size, 0.0, 1.0);
  gl_PointSize = size;
  across = size;
  float seen = colour.a * alpha;
  shade = vec4(colour.rgb * seen, seen);
}`;
const FRAGMENT = `
precision mediump float;
varying vec4 shade;
varying float across;
void main() {
  float away = length(gl_PointCoord - 0.5) * across;
  gl_FragColor = shade * (across < 3.5 ? 1.0 : clamp(across * 0.5 - away, 0.0, 1.0));
}`;

class WebGl implements Painter {
  readonly name = "webgl";
  readonly most = Number.POSITIVE_INFINITY;
  private count = 0;
  private readonly program: WebGLProgram;
  private readonly placeBuffer: WebGLBuffer;
  private readonly colourBuffer: WebGLBuffer;

  constructor(private readonly gl: WebGLRenderingContext) {
    const program = gl.createProgram();
    for (const [kind, source] of [
      [gl.VERTEX_SHADER, VERTEX],
      [gl.FRAGMENT_SHADER, FRAGMENT],
    ] as const) {
      const shader = gl.createShader(kind) as WebGLShader;
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS))
      throw new Error(gl.getProgramInfoLog(program) ?? "no program");
    gl.useProgram(program);
    this.program = program;
    this.placeBuffer = gl.createBuffer();
    this.colourBuffer = gl.createBuffer();
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  points(x: Float32Array, y: Float32Array): void {
    const both = new Float32Array(2 * x.length);
    for (let i = 0; i < x.length; i++) {
      both[2 * i] = x[i] as number;
      both[2 * i + 1] = y[i] as number;
    }
    this.count = x.length;
    this.fill(this.placeBuffer, both);
  }

  colours(rgba: Uint8Array<ArrayBuffer>): void {
    this.fill(this.colourBuffer, rgba);
  }

  draw(camera: Camera, size: number, alpha: number, every: number): void {
    const { gl } = this;
    this.point("place", this.placeBuffer, 2, gl.FLOAT, false, 8 * every);
    this.point("colour", this.colourBuffer, 4, gl.UNSIGNED_BYTE, true, 4 * every);
    const pixels = gl.drawingBufferWidth / Math.max(1, camera.width);
    gl.viewport(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    const at = (name: string) => gl.getUniformLocation(this.program, name);
    gl.uniform2f(at("middle"), camera.x, camera.y);
    gl.uniform2f(at("half_size"), camera.width / 2, camera.height / 2);
    gl.uniform1f(at("scale"), camera.scale);
    gl.uniform1f(at("size"), size * pixels);
    gl.uniform1f(at("alpha"), Math.min(1, alpha * Math.sqrt(every)));
    gl.drawArrays(gl.POINTS, 0, Math.ceil(this.count / every));
  }

  private point(name: string, buffer: WebGLBuffer, size: number, type: number, isShare: boolean, step: number): void {
    const { gl } = this;
    const place = gl.getAttribLocation(this.program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, size, type, isShare, step, 0);
  }

  private fill(buffer: WebGLBuffer, values: Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>): void {
    this.gl.bindBuffer(this.gl.ARRAY_BUFFER, buffer);
    this.gl.bufferData(this.gl.ARRAY_BUFFER, values, this.gl.DYNAMIC_DRAW);
  }
}

const MOST_ROUND = 5000;

class Canvas2d implements Painter {
  readonly name = "canvas";
  readonly most = 20_000;
  private x: Float32Array = new Float32Array();
  private y: Float32Array = new Float32Array();
  private stride = 1;
  private rgba = new Uint8Array(0);

  constructor(private readonly context: CanvasRenderingContext2D) {}

  points(x: Float32Array, y: Float32Array, stride: number): void {
    this.x = x;
    this.y = y;
    this.stride = stride;
  }

  colours(rgba: Uint8Array<ArrayBuffer>): void {
    this.rgba = rgba;
  }

  draw(camera: Camera, size: number, alpha: number, _every: number): void {
    const { context, rgba } = this;
    const { width, height } = context.canvas;
    const pixels = width / Math.max(1, camera.width);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    context.setTransform(pixels, 0, 0, pixels, 0, 0);
    const isRound = this.x.length <= MOST_ROUND; // discs take five times as long as squares
    for (let i = 0; i < this.x.length; i += this.stride) {
      const [px, py] = toScreen(camera, this.x[i] as number, this.y[i] as number);
      if (px < -size || py < -size || px > camera.width + size || py > camera.height + size) continue;
      context.globalAlpha = (alpha * (rgba[4 * i + 3] as number)) / 255;
      context.fillStyle = `rgb(${rgba[4 * i]} ${rgba[4 * i + 1]} ${rgba[4 * i + 2]})`;
      if (isRound) {
        context.beginPath();
        context.arc(px, py, size / 2, 0, 2 * Math.PI);
        context.fill();
      } else context.fillRect(px - size / 2, py - size / 2, size, size);
    }
    context.globalAlpha = 1;
  }
}

/** The best painter that this browser has. */
export function painterFor(canvas: HTMLCanvasElement): Painter {
  const gl = canvas.getContext("webgl", { antialias: false, premultipliedAlpha: true, preserveDrawingBuffer: true });
  if (gl) return new WebGl(gl);
  return new Canvas2d(canvas.getContext("2d") as CanvasRenderingContext2D);
}
