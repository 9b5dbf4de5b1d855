/** An error meant for an operator: what was observed and what is allowed, then what to do. Printed as `Error:` and `Try:`. */
export class Fault extends Error {
  readonly try: string;

  constructor(message: string, tryText: string) {
    super(message);
    this.name = 'Fault';
    this.try = tryText;
  }
}
