export interface ConnectionState {
  online: boolean;
  /** Grows each time the server comes back: what depends on it loads anew. */
  epoch: number;
}

type Listener = () => void;

/** Whether the backend answers, as told by the requests that are made anyway. */
export class Connection {
  #state: ConnectionState = { online: true, epoch: 0 };
  readonly #listeners = new Set<Listener>();

  readonly subscribe = (listener: Listener): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly snapshot = (): ConnectionState => this.#state;

  lost(): void {
    if (this.#state.online) this.#set({ ...this.#state, online: false });
  }

  restored(): void {
    if (!this.#state.online) this.#set({ online: true, epoch: this.#state.epoch + 1 });
  }

  #set(state: ConnectionState): void {
    this.#state = state;
    this.#listeners.forEach((listener) => listener());
  }
}
