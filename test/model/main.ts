import { optionsOf } from '../rig/options.ts';
import { explore, type Explored } from './explorer.ts';
import { rules } from './rules.ts';
import { plannedIn, startNames, startOf, type Start } from './starts.ts';
import { TwoSites } from './two-sites.ts';

const HELP = `Tries every order of events of two sites: partitions, crashes, frozen workers, a database put back, both control rooms
at once. Never may both serve the users of one half, but where people's words were not so; and once all has healed, each half
is served, or something tells why not. What it finds is printed as the shortest list of events.

  npm run explore                                 every start, to depth 7: about a minute and a half on one core
  npm run explore -- --depth 9 --from quiet       deeper, from one start
  npm run explore -- --faults 3                   parts and links that may fail after the start (2)
  npm run explore -- --self-fence on              only with it, or only without (off); both when left out

  starts: ${startNames.join(', ')}
`;

const values = optionsOf('explore', {
  options: {
    depth: { type: 'string', default: '7' },
    faults: { type: 'string', default: '2' },
    from: { type: 'string', default: startNames.join() },
    'self-fence': { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

const say = (line: string): void => void process.stdout.write(`${line}\n`);

function tell(start: string, { states, steps, depth, whole, found }: Explored): void {
  const reach = whole ? 'all there is' : `every order of ${depth}`;
  say(`${start.padEnd(16)} ${String(states).padStart(9)} states ${String(steps).padStart(10)} steps  ${reach}`);
  if (!found) return;
  say(`\n${found.fault}:`);
  found.events.forEach((event, i) => say(`  ${i + 1}. ${event}`));
  say('');
}

function wholeNumber(name: 'depth' | 'faults'): number {
  const value = Number(values[name]);
  if (Number.isInteger(value) && value >= 0 && value < 100) return value;
  throw new RangeError(`--${name} ${values[name]}: a whole number from 0 to 99 is allowed`);
}

function main(): boolean {
  const depth = wholeNumber('depth');
  const faults = wholeNumber('faults');
  const starts = values.from.split(',').map((name) => {
    const found = startNames.find((start): start is Start => start === name.trim());
    if (!found) throw new RangeError(`--from ${name}: allowed are ${startNames.join(', ')}`);
    return found;
  });
  const wanted = values['self-fence'];
  if (wanted !== undefined && wanted !== 'on' && wanted !== 'off')
    throw new RangeError(`--self-fence ${wanted}: allowed are on, off`);
  let states = 0;
  let faultless = true;
  const began = performance.now();
  for (const selfFence of [false, true].filter((on) => wanted === undefined || on === (wanted === 'on'))) {
    say(`self-fence ${selfFence ? 'on' : 'off'}, at most ${faults} faults after the start`);
    const options = { rules: { ...rules, selfFence }, faults };
    const planner = new TwoSites({ ...options, planned: 'any' });
    for (const start of starts) {
      const model = new TwoSites({ ...options, planned: plannedIn(start) });
      const explored = explore(model, [startOf(planner, start)], { depth });
      tell(start, explored);
      states += explored.states;
      faultless &&= explored.found === null;
    }
  }
  say(
    `${states} states in ${Math.round((performance.now() - began) / 1000)} s: ${faultless ? 'nothing found' : 'FOUND, see above'}`,
  );
  return faultless;
}

try {
  if (values.help) say(HELP);
  else process.exitCode = main() ? 0 : 1;
} catch (error) {
  if (!(error instanceof RangeError)) throw error;
  process.stderr.write(`Error: ${error.message}\nTry: npm run explore -- --help\n`);
  process.exitCode = 2;
}
