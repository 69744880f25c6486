// The worker as seen by the page: one case at a time, which can be cancelled.

export class Cancelled extends Error {}

export class Segmenter {
  // `assets` are kept, so that a new worker can be started after a cancellation, also without a network.
  constructor(assets) {
    this.assets = assets;
    this.#start();
  }

  #start() {
    this.worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    this.ready = new Promise((resolve, reject) => {
      this.settle = { resolve, reject };
    });
    this.ready.catch(() => {}); // whoever waits for it hears of it
    this.worker.onmessage = ({ data }) => this.#hear(data);
    this.worker.onerror = (event) => this.#fail(new Error(`the worker failed (${event.message ?? "it could not be loaded"}); load the page again`));
    this.worker.postMessage({ assets: this.assets });
  }

  // Segments [{ modality, file, volume }]; `onStage(stage, share)` hears of progress.
  async segment(files, onStage) {
    await this.ready;
    return new Promise((resolve, reject) => {
      this.task = { resolve, reject, onStage };
      this.worker.postMessage({ files });
    });
  }

  cancel() {
    this.worker.terminate();
    this.#fail(new Cancelled());
    this.#start();
  }

  #hear({ ready, threads, stage, share, result, problem }) {
    if (ready) {
      this.threads = threads;
      this.settle.resolve();
    } else if (stage) this.task?.onStage(stage, share);
    else if (result) this.task?.resolve(result);
    else this.#fail(new Error(problem));
  }

  #fail(error) {
    this.settle.reject(error);
    this.task?.reject(error);
    this.task = undefined;
  }
}
