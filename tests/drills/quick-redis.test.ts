/** The quick drills on Redis. */
import { quickDrills } from './run-quick.js';

await quickDrills('redis');
