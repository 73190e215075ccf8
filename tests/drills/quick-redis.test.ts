import { quickDrills } from './run-quick.js';

await quickDrills('redis');
