/** The quick drills on the file broker. */
import { quickDrills } from './run-quick.js';

await quickDrills('file');
