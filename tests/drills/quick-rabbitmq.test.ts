/** The quick drills on RabbitMQ. */
import { quickDrills } from './run-quick.js';

await quickDrills('rabbitmq');
